//! Where a service may listen: nowhere but on loopback, unless told so. Serves both ports.

use std::net::{SocketAddr, TcpListener};

/// Where to listen, and who may reach it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen {
    /// The address. Port 0 takes a free one.
    pub address: SocketAddr,
    /// Who may reach it.
    pub exposure: Exposure,
}

/// Who may reach a port. There is no authentication: whoever reaches it reads everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exposure {
    /// Only this machine; any other address is refused at start.
    Loopback,
    /// Whoever the network lets through. To be chosen by a person, never by default.
    AnyoneUnauthenticated,
}

/// A service that could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address is reachable from other machines, and nothing allows that.
    #[error(
        "refusing to listen on {0}: it can be reached from other machines and there is no \
         authentication; use a loopback address, or allow it explicitly"
    )]
    NotLoopback(SocketAddr),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// A thread cannot be started.
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
}

impl Listen {
    /// On a loopback address; any other is refused at start.
    pub fn loopback(address: SocketAddr) -> Listen {
        Listen {
            address,
            exposure: Exposure::Loopback,
        }
    }

    pub(crate) fn bind(&self) -> Result<TcpListener, StartError> {
        let address = self.address;
        if self.exposure == Exposure::Loopback && !address.ip().to_canonical().is_loopback() {
            return Err(StartError::NotLoopback(address));
        }
        TcpListener::bind(address).map_err(|source| StartError::Bind { address, source })
    }
}

//! How a server is reached, and how a port is chosen.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use postgres::{Client, Config, NoTls};
use walrecord::Lsn;

use crate::Random;

/// Ports below those that outgoing connections get (32768 and up), so that none of these takes the port of
/// a server that restarts.
const PORTS: std::ops::Range<u16> = 15_000..32_000;

/// The superuser that `initdb` makes here.
const SUPERUSER: &str = "postgres";

/// How to reach a server: loopback and port, or its socket.
#[derive(Debug, Clone)]
pub struct ServerAddress {
    socket_dir: PathBuf,
    port: u16,
}

impl ServerAddress {
    pub(super) fn new(socket_dir: &Path) -> ServerAddress {
        ServerAddress {
            socket_dir: socket_dir.to_owned(),
            port: 0,
        }
    }

    pub(super) fn set_port(&mut self, port: u16) {
        self.port = port;
    }

    /// The TCP port on 127.0.0.1, which is also in the name of the socket.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The directory that holds the socket.
    pub fn socket_dir(&self) -> &Path {
        &self.socket_dir
    }

    /// A libpq connection string over loopback TCP.
    pub fn conninfo(&self, database: &str) -> String {
        format!(
            "host=127.0.0.1 port={} user={SUPERUSER} dbname={database}",
            self.port
        )
    }

    /// A libpq connection string over the socket.
    pub fn socket_conninfo(&self, database: &str) -> String {
        let dir = self.socket_dir.display();
        format!(
            "host={dir} port={} user={SUPERUSER} dbname={database}",
            self.port
        )
    }

    /// A superuser's session over the socket.
    ///
    /// # Errors
    /// If the server refuses it.
    pub fn client(&self, database: &str) -> Result<Client> {
        Config::new()
            .host_path(&self.socket_dir)
            .port(self.port)
            .user(SUPERUSER)
            .dbname(database)
            .application_name("stockpg")
            .connect(NoTls)
            .with_context(|| format!("connecting to database {database} on port {}", self.port))
    }

    /// Where the next record will be inserted.
    ///
    /// # Errors
    /// If the server cannot be asked.
    pub fn insert_lsn(&self) -> Result<Lsn> {
        query_lsn(
            &mut self.client("postgres")?,
            "SELECT pg_current_wal_insert_lsn()::text",
        )
    }
}

/// Runs a query whose one value is an LSN as text.
pub(crate) fn query_lsn(client: &mut Client, query: &str) -> Result<Lsn> {
    let text: String = client.query_one(query, &[])?.get(0);
    Ok(text.parse()?)
}

/// Ports of loopback that were free when looked at, in random order.
pub(super) fn free_ports() -> impl Iterator<Item = u16> {
    let mut seed = [0; 8];
    // SAFETY: the pointer and length describe the array. On failure it stays zero, which is a seed too.
    unsafe { libc::getrandom(seed.as_mut_ptr().cast(), seed.len(), 0) };
    let mut random = Random::new(u64::from_ne_bytes(seed));
    let span = u64::from(PORTS.end - PORTS.start);
    std::iter::repeat_with(move || PORTS.start + random.below(span) as u16)
        .take(usize::from(PORTS.end - PORTS.start))
        .filter(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
}

//! May this server be attached? Every refusal is one sentence: what failed, on what, what to do.

use thiserror::Error;
use walrecord::{PAGE_SIZE, PgVersion, RELSEG_BLOCKS};

use crate::command::SystemIdentity;
use crate::connection::Connection;
use crate::error::{ConnectionError, ProtocolError};

/// A server that may be attached, and the settings that decide how its WAL is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Primary {
    /// Who it is and where it stands.
    pub identity: SystemIdentity,
    /// Its major version.
    pub version: PgVersion,
    /// Its minor release, the `18` of 15.18.
    pub minor: u16,
    /// Bytes of one WAL segment file.
    pub segment_size: u32,
    /// Pages carry checksums.
    pub data_checksums: bool,
    /// Hint bits are WAL-logged even without checksums.
    pub wal_log_hints: bool,
    /// It is a standby itself.
    pub in_recovery: bool,
}

/// Why a server cannot be attached.
#[derive(Debug, Error)]
pub enum AttachError {
    /// An unsupported major version.
    #[error("the server runs PostgreSQL {found}; versions 14 to 18 are supported")]
    Version {
        /// What it calls itself.
        found: String,
    },
    /// WAL that does not describe every change.
    #[error(
        "the server has wal_level = {found}, which leaves changes out of the WAL; set wal_level = replica and restart it"
    )]
    WalLevel {
        /// Its value.
        found: String,
    },
    /// A build with other block sizes.
    #[error(
        "the server was built with {setting} = {found}; only {expected} is supported, so it cannot be attached"
    )]
    BuildOption {
        /// The setting.
        setting: &'static str,
        /// Its value.
        found: String,
        /// The value of ordinary builds.
        expected: u64,
    },
    /// The server or the connection failed.
    #[error("the server's settings cannot be read: {0}")]
    Connection(#[from] ConnectionError),
}

impl From<ProtocolError> for AttachError {
    fn from(error: ProtocolError) -> AttachError {
        AttachError::Connection(error.into())
    }
}

impl Primary {
    /// Asks the server for everything that could forbid attaching it.
    ///
    /// # Errors
    /// The first thing that does, in one sentence.
    pub fn check(connection: &mut Connection) -> Result<Primary, AttachError> {
        let (version, minor) = version(&connection.show("server_version_num")?)?;
        let wal_level = connection.show("wal_level")?;
        if !matches!(wal_level.as_str(), "replica" | "logical") {
            return Err(AttachError::WalLevel { found: wal_level });
        }
        let build_options = [
            ("block_size", PAGE_SIZE as u64),
            ("wal_block_size", PAGE_SIZE as u64),
            ("segment_size", u64::from(RELSEG_BLOCKS) * PAGE_SIZE as u64),
        ];
        for (setting, expected) in build_options {
            let found = connection.show(setting)?;
            if bytes(&found) != Some(expected) {
                return Err(AttachError::BuildOption {
                    setting,
                    found,
                    expected,
                });
            }
        }
        Ok(Primary {
            segment_size: segment_size(&connection.show("wal_segment_size")?)?,
            data_checksums: connection.show("data_checksums")? == "on",
            wal_log_hints: connection.show("wal_log_hints")? == "on",
            in_recovery: connection.show("in_hot_standby")? == "on",
            identity: connection.identify_system()?,
            version,
            minor,
        })
    }
}

/// `server_version_num`: 150018 is 15.18.
fn version(text: &str) -> Result<(PgVersion, u16), AttachError> {
    let unsupported = || AttachError::Version {
        found: text.chars().take(40).collect(),
    };
    let number: u32 = text.parse().map_err(|_| unsupported())?;
    let version = PgVersion::from_major(number / 10_000).map_err(|_| unsupported())?;
    let minor = u16::try_from(number % 10_000).map_err(|_| unsupported())?;
    Ok((version, minor))
}

/// Segments are a power of two from 1 MiB to 1 GiB (`IsValidWalSegSize`).
pub(crate) fn segment_size(text: &str) -> Result<u32, ProtocolError> {
    bytes(text)
        .and_then(|size| u32::try_from(size).ok())
        .filter(|size| size.is_power_of_two() && (1 << 20..=1 << 30).contains(size))
        .ok_or_else(|| ProtocolError::BadValue {
            field: "wal_segment_size",
            value: text.chars().take(40).collect(),
            expected: "a power of two from 1MB to 1GB",
        })
}

/// A size as `SHOW` prints it: a number and a unit, or plain bytes.
fn bytes(text: &str) -> Option<u64> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = match unit {
        "" | "B" => 1,
        "kB" => 1 << 10,
        "MB" => 1 << 20,
        "GB" => 1 << 30,
        "TB" => 1 << 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_show_prints_them() {
        assert_eq!(bytes("8192"), Some(8192));
        assert_eq!(bytes("16MB"), Some(16 << 20));
        assert_eq!(bytes("1GB"), Some(1 << 30));
        assert_eq!(bytes("99999999999999999999"), None);
        assert_eq!(bytes("18446744073709551615TB"), None);
        assert_eq!(bytes("16 MB"), None);
        assert_eq!(bytes(""), None);
    }

    #[test]
    fn odd_segment_sizes_are_refused() {
        assert_eq!(segment_size("64MB").unwrap(), 64 << 20);
        for bad in ["512kB", "3MB", "2GB", "0", "x"] {
            assert!(segment_size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn versions_outside_14_to_18_are_refused_by_name() {
        assert_eq!(version("150018").unwrap(), (PgVersion::V15, 18));
        let error = version("130022").unwrap_err();
        assert!(error.to_string().contains("130022"));
        assert!(version("190000").is_err());
    }
}

//! How a new cluster is made.

use std::path::PathBuf;

/// Choices for [`Cluster::init`](super::Cluster::init).
#[derive(Debug, Clone)]
pub struct InitOptions {
    /// Size of a WAL segment in MiB: a power of two from 1 to 1024. Small ones cross segment boundaries
    /// often. Default 16, as Postgres.
    pub wal_segsize_mb: u32,
    /// Data checksums. Default off. Switched on, hint bits are WAL-logged too.
    pub checksums: bool,
    /// Whether the server syncs its files. Default off: faster, and a killed process loses nothing by it;
    /// only figures of speed need it on.
    pub fsync: bool,
    /// Whether finished WAL segments are copied to [`Cluster::archive`](super::Cluster::archive). Default
    /// off.
    pub archive: bool,
    /// Lines for `postgresql.conf`, behind ours, so they win.
    pub conf: Vec<String>,
    /// Who may connect how, behind the rules for local superusers (which are trusted). Default: everyone
    /// from loopback, for replication too, is trusted.
    pub hba: Vec<HbaRule>,
    /// Where the cluster's directory is made; by default where the system keeps temporary files.
    pub parent: Option<PathBuf>,
}

/// One line of `pg_hba.conf` for connections over loopback TCP.
#[derive(Debug, Clone)]
pub struct HbaRule {
    /// Database, or `all`, or `replication`.
    pub database: String,
    /// User, or `all`.
    pub user: String,
    /// Method: `trust`, `scram-sha-256`, `md5`, `password` or `reject`.
    pub method: String,
}

impl Default for InitOptions {
    fn default() -> InitOptions {
        let trust = |database: &str| HbaRule {
            database: database.to_owned(),
            user: "all".to_owned(),
            method: "trust".to_owned(),
        };
        InitOptions {
            wal_segsize_mb: 16,
            checksums: false,
            fsync: false,
            archive: false,
            conf: Vec::new(),
            hba: vec![trust("all"), trust("replication")],
            parent: None,
        }
    }
}

impl InitOptions {
    /// The text of `pg_hba.conf`. Over the socket, which only we can reach, all are trusted.
    pub(super) fn hba_text(&self) -> String {
        let mut text = String::from("local all all trust\nlocal replication all trust\n");
        for HbaRule {
            database,
            user,
            method,
        } in &self.hba
        {
            text += &format!("host {database} {user} 127.0.0.1/32 {method}\n");
        }
        text
    }
}

/// `text` as a string of a configuration file.
pub(crate) fn conf_string(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// `text` as one word of a shell command that Postgres runs after it has replaced `%` sequences.
pub(crate) fn shell_word(text: &str) -> String {
    format!("'{}'", text.replace('%', "%%").replace('\'', r"'\''"))
}

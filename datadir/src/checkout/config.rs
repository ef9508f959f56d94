//! Configuration of a clone: the imported files, disarmed, and a block of settings that win over them, so
//! that it never reaches out to what its parent talks to.

use walrecord::PgVersion;
use walrecord::rmgr::xlog::ParameterChange;

/// Lines of `postgresql.conf` that a clone must not follow. `data_directory` there beats the directory that
/// the server is started with (`SelectConfigFiles`, utils/misc/guc.c), and would start it on the parent's;
/// without the other paths the server looks beside `postgresql.conf`; files included lie elsewhere.
const NOT_FOLLOWED: [&str; 7] = [
    "data_directory",
    "hba_file",
    "ident_file",
    "external_pid_file",
    "include",
    "include_dir",
    "include_if_exists",
];

/// Bytes of a socket's path (`sun_path` less the zero at its end).
const MAX_SOCKET_PATH: usize = 107;

/// What the server appends to the directory: `/.s.PGSQL.65535`.
const SOCKET_NAME: usize = 15;

/// Replication origins that a server can have by default, and so many a clone may make besides.
const DEFAULT_ORIGINS: usize = 10;

const MINIMAL_CONF: &[u8] =
    b"# The primary's file was not imported; these are Postgres's defaults.\n";

const MINIMAL_HBA: &[u8] = b"# The primary's file was not imported.\n\
local all all trust\n\
host all all 127.0.0.1/32 trust\n\
host all all ::1/128 trust\n";

const MINIMAL_IDENT: &[u8] = b"# The primary's file was not imported.\n";

/// What the settings of a clone depend on.
pub(crate) struct CloneSettings<'a> {
    /// The version.
    pub(crate) version: PgVersion,
    /// The values that its control file carries.
    pub(crate) parameters: &'a ParameterChange,
    /// What the server calls itself in the process list.
    pub(crate) cluster_name: &'a str,
    /// Replication origins that the server finds when it starts.
    pub(crate) origins: usize,
    /// Bytes of the data directory's path.
    pub(crate) path_length: usize,
    /// Keep the preload libraries.
    pub(crate) keep_preload: bool,
    /// The port, if not the imported one.
    pub(crate) port: Option<u16>,
}

/// The configuration files of a clone: path and content.
pub(crate) fn config_files(
    imported: &[(String, Vec<u8>)],
    settings: &CloneSettings<'_>,
) -> Vec<(String, Vec<u8>)> {
    let defaults = [
        ("postgresql.conf", MINIMAL_CONF),
        ("postgresql.auto.conf", b""),
        ("pg_hba.conf", MINIMAL_HBA),
        ("pg_ident.conf", MINIMAL_IDENT),
    ];
    let mut files = imported.to_vec();
    for (name, content) in defaults {
        if !files.iter().any(|(path, _)| path == name) {
            files.push((name.to_owned(), content.to_vec()));
        }
    }
    for (path, content) in &mut files {
        if !path.contains('/') {
            *content = disarmed(content);
        }
        if path == "postgresql.auto.conf" {
            content.extend_from_slice(settings.block().as_bytes());
        }
    }
    files
}

impl CloneSettings<'_> {
    /// The settings that win: of several the server takes the last, and it reads `postgresql.auto.conf`
    /// last. `ALTER SYSTEM` keeps them.
    fn block(&self) -> String {
        let mut block =
            String::from("\n# Settings of this checkout: they keep it away from its parent.\n");
        for (name, value) in self.settings() {
            block += &format!("{name} = {}\n", quoted(&value));
        }
        block
    }

    fn settings(&self) -> Vec<(&'static str, String)> {
        let p = self.parameters;
        let mut settings: Vec<(&str, String)> = [
            // Nothing goes out, nothing is asked for elsewhere.
            ("archive_mode", "off"),
            ("archive_command", ""),
            ("restore_command", ""),
            ("archive_cleanup_command", ""),
            ("recovery_end_command", ""),
            ("synchronous_standby_names", ""),
            ("primary_conninfo", ""),
            ("primary_slot_name", ""),
            ("max_logical_replication_workers", "0"),
            // Only this machine comes in.
            ("listen_addresses", "127.0.0.1"),
            ("unix_socket_group", ""),
            ("bonjour", "off"),
            ("ssl", "off"),
            ("logging_collector", "off"),
            ("log_destination", "stderr"),
            // A smaller machine than the primary's must do.
            ("huge_pages", "try"),
        ]
        .map(|(name, value)| (name, value.to_owned()))
        .into();
        // Relative to the data directory, in which the server works: the directory may be moved.
        let sockets = match self.path_length + SOCKET_NAME <= MAX_SOCKET_PATH {
            true => ".",
            false => "",
        };
        settings.push(("unix_socket_directories", sockets.to_owned()));
        settings.push(("cluster_name", self.cluster_name.to_owned()));
        if self.version >= PgVersion::V15 {
            settings.push(("archive_library", String::new()));
        } else {
            settings.push(("stats_temp_directory", "pg_stat_tmp".to_owned()));
        }
        if self.version >= PgVersion::V18 {
            // Another machine's kernel, or another build, may refuse the others.
            settings.push(("io_method", "worker".to_owned()));
        }
        if self.origins > DEFAULT_ORIGINS {
            // Where the primary's file was not imported the default is too few, and the server would not start
            // (`StartupReplicationOrigin`, replication/logical/origin.c).
            let name = match self.version {
                PgVersion::V18 => "max_active_replication_origins",
                _ => "max_replication_slots",
            };
            settings.push((name, (self.origins + DEFAULT_ORIGINS).to_string()));
        }
        if self.version >= PgVersion::V17 {
            settings.push(("synchronized_standby_slots", String::new()));
        }
        if !self.keep_preload {
            for name in [
                "shared_preload_libraries",
                "session_preload_libraries",
                "local_preload_libraries",
            ] {
                settings.push((name, String::new()));
            }
        }
        if let Some(port) = self.port {
            settings.push(("port", port.to_string()));
        }
        let switch = |on| if on { "on" } else { "off" }.to_owned();
        let wal_level = if p.wal_level >= 2 {
            "logical"
        } else {
            "replica"
        };
        settings.extend([
            ("wal_level", wal_level.to_owned()),
            ("wal_log_hints", switch(p.wal_log_hints)),
            ("track_commit_timestamp", switch(p.track_commit_timestamp)),
            ("max_connections", p.max_connections.to_string()),
            ("max_worker_processes", p.max_worker_processes.to_string()),
            ("max_wal_senders", p.max_wal_senders.to_string()),
            (
                "max_prepared_transactions",
                p.max_prepared_xacts.to_string(),
            ),
            (
                "max_locks_per_transaction",
                p.max_locks_per_xact.to_string(),
            ),
        ]);
        settings
    }
}

/// The file with the lines commented out that a clone must not follow.
fn disarmed(content: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(content.len() + 64);
    for line in content.split_inclusive(|byte| *byte == b'\n') {
        if NOT_FOLLOWED.iter().any(|name| is_setting(line, name)) {
            out.extend_from_slice(b"#(not in a checkout) ");
        }
        out.extend_from_slice(line);
    }
    if out.last().is_some_and(|byte| *byte != b'\n') {
        out.push(b'\n');
    }
    out
}

/// Whether the line begins with this word. The server ignores blanks before it, and its case.
fn is_setting(line: &[u8], name: &str) -> bool {
    let line = line.trim_ascii_start();
    let end = line
        .iter()
        .position(|byte| !byte.is_ascii_alphanumeric() && !b"_$.".contains(byte) && *byte < 0x80)
        .unwrap_or(line.len());
    line[..end].eq_ignore_ascii_case(name.as_bytes())
}

/// The value as a string of the configuration file's syntax (utils/misc/guc-file.l: `DeescapeQuotedString`).
fn quoted(value: &str) -> String {
    let mut out = String::from("'");
    for c in value.chars() {
        match c {
            '\'' => out += "''",
            '\\' => out += "\\\\",
            '\n' => out += "\\n",
            '\r' => out += "\\r",
            c => out.push(c),
        }
    }
    out.push('\'');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(parameters: &ParameterChange) -> CloneSettings<'_> {
        CloneSettings {
            version: PgVersion::V15,
            parameters,
            cluster_name: "it's",
            origins: 0,
            path_length: 20,
            keep_preload: false,
            port: Some(5555),
        }
    }

    fn parameters() -> ParameterChange {
        ParameterChange {
            max_connections: 300,
            max_worker_processes: 9,
            max_wal_senders: 11,
            max_prepared_xacts: 64,
            max_locks_per_xact: 128,
            wal_level: 0,
            wal_log_hints: true,
            track_commit_timestamp: false,
        }
    }

    fn file<'a>(files: &'a [(String, Vec<u8>)], name: &str) -> &'a str {
        let (_, content) = files.iter().find(|(path, _)| path == name).unwrap();
        std::str::from_utf8(content).unwrap()
    }

    #[test]
    fn lines_that_lead_elsewhere_are_commented_out() {
        let conf = b"port = 1\n  Data_Directory='/prod'\ninclude_dir 'conf.d'\n#include 'x'\n\
            includes = 1\nhba_file\t'/etc/hba'\nexternal_pid_file='/run/x'\ninclude_if_exists=x";
        let text = String::from_utf8(disarmed(conf)).unwrap();
        let active: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(active, ["port = 1", "includes = 1"]);
        assert!(text.ends_with('\n'), "what is appended begins a line");
    }

    #[test]
    fn the_last_word_is_ours() {
        let imported = [(
            "postgresql.auto.conf".to_owned(),
            b"archive_command = 'rsync %p prod:'".to_vec(),
        )];
        let parameters = parameters();
        let files = config_files(&imported, &settings(&parameters));
        let auto = file(&files, "postgresql.auto.conf");
        let last = |name: &str| {
            let mut lines = auto.lines().filter_map(|line| line.split_once(" = "));
            lines.rfind(|(n, _)| *n == name).map(|(_, v)| v)
        };
        for (name, value) in [
            ("archive_command", "''"),
            ("archive_mode", "'off'"),
            ("archive_library", "''"),
            ("primary_conninfo", "''"),
            ("max_logical_replication_workers", "'0'"),
            ("listen_addresses", "'127.0.0.1'"),
            ("shared_preload_libraries", "''"),
            ("cluster_name", "'it''s'"),
            ("max_connections", "'300'"),
            ("wal_level", "'replica'"),
            ("wal_log_hints", "'on'"),
            ("unix_socket_directories", "'.'"),
            ("port", "'5555'"),
        ] {
            assert_eq!(last(name), Some(value), "{name}");
        }
        assert_eq!(last("stats_temp_directory"), None, "15 does not know it");
        assert!(file(&files, "pg_hba.conf").contains("127.0.0.1/32 trust"));
    }

    #[test]
    fn preload_libraries_stay_if_asked_and_14_has_settings_of_its_own() {
        let parameters = parameters();
        let kept = CloneSettings {
            version: PgVersion::V14,
            keep_preload: true,
            path_length: 93,
            port: None,
            ..settings(&parameters)
        };
        let block = kept.block();
        assert!(!block.contains("preload"));
        assert!(!block.contains("archive_library"));
        assert!(!block.contains("port ="));
        assert!(block.contains("stats_temp_directory = 'pg_stat_tmp'"));
        assert!(
            block.contains("unix_socket_directories = ''"),
            "the path is too long"
        );
    }

    #[test]
    fn there_is_room_for_the_replication_origins_of_the_primary() {
        let parameters = parameters();
        let with = |version, origins| {
            CloneSettings {
                version,
                origins,
                ..settings(&parameters)
            }
            .block()
        };
        let few = with(PgVersion::V18, 10);
        assert!(!few.contains("origins") && few.contains("io_method = 'worker'"));
        assert!(with(PgVersion::V18, 11).contains("max_active_replication_origins = '21'"));
        let older = with(PgVersion::V17, 11);
        assert!(older.contains("max_replication_slots = '21'"));
        assert!(!older.contains("io_method"));
    }

    #[test]
    fn quotes_and_backslashes_in_values_are_harmless() {
        assert_eq!(quoted("a'b\\c\nd"), r"'a''b\\c\nd'");
    }
}

//! Where defaults come from: `PG*` variables, the user's name and home directory. Behind a type of
//! its own, so that tests bring their own world.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// The keyword that each environment variable gives a default for (`PQconninfoOptions`).
pub(super) const VARIABLES: &[(&str, &str)] = &[
    ("PGHOST", "host"),
    ("PGHOSTADDR", "hostaddr"),
    ("PGPORT", "port"),
    ("PGUSER", "user"),
    ("PGPASSWORD", "password"),
    ("PGPASSFILE", "passfile"),
    ("PGDATABASE", "dbname"),
    ("PGOPTIONS", "options"),
    ("PGAPPNAME", "application_name"),
    ("PGSSLMODE", "sslmode"),
    ("PGSSLROOTCERT", "sslrootcert"),
    ("PGSSLCERT", "sslcert"),
    ("PGSSLKEY", "sslkey"),
    ("PGSSLSNI", "sslsni"),
    ("PGSSLMINPROTOCOLVERSION", "ssl_min_protocol_version"),
    ("PGSSLMAXPROTOCOLVERSION", "ssl_max_protocol_version"),
    ("PGSSLCRL", "sslcrl"),
    ("PGSSLCRLDIR", "sslcrldir"),
    ("PGCHANNELBINDING", "channel_binding"),
    ("PGCONNECT_TIMEOUT", "connect_timeout"),
    ("PGREQUIREPEER", "requirepeer"),
    ("PGSERVICE", "service"),
    ("PGTARGETSESSIONATTRS", "target_session_attrs"),
    ("PGGSSENCMODE", "gssencmode"),
];

/// What surrounds the process.
#[derive(Clone, Default)]
pub struct Environment {
    /// Environment variables.
    pub variables: HashMap<String, String>,
    /// The home directory, for `.pgpass` and `.postgresql`.
    pub home: Option<PathBuf>,
    /// The operating system's name of the user: the default role.
    pub user: Option<String>,
}

impl Environment {
    /// Nothing but the arguments counts.
    pub fn empty() -> Environment {
        Environment::default()
    }

    /// The environment of this process. Variables that are not UTF-8 are passed over.
    pub fn of_process() -> Environment {
        let variables: HashMap<String, String> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let account = Account::of_process();
        let home = variables.get("HOME").filter(|home| !home.is_empty());
        let home = home.or(account.as_ref().map(|account| &account.home));
        Environment {
            home: home.map(PathBuf::from),
            user: match &account {
                Some(account) => Some(account.name.clone()),
                None => variables.get("USER").cloned(),
            },
            variables,
        }
    }

    pub(super) fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }
}

/// This process's line of the account file.
struct Account {
    name: String,
    home: String,
}

impl Account {
    fn of_process() -> Option<Account> {
        // The owner of a process's own directory in /proc is its effective user.
        let uid = fs::metadata("/proc/self").ok()?.uid().to_string();
        let accounts = fs::read_to_string("/etc/passwd").ok()?;
        accounts.lines().find_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            (fields.len() >= 6 && fields[2] == uid).then(|| Account {
                name: fields[0].to_owned(),
                home: fields[5].to_owned(),
            })
        })
    }
}

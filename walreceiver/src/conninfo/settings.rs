//! From keyword pairs to a checked [`ConnInfo`]: defaults, environment, ranges, and refusals.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::environment::{Environment, VARIABLES};
use super::{
    ChannelBinding, ConnInfo, ConnInfoError, Host, KeepAlive, Secret, SslMode, Target, TlsSettings,
    shown_keyword,
};

const DEFAULT_PORT: u16 = 5432;

/// How a standby or tool introduces itself; ours if nothing else was asked for.
const DEFAULT_APPLICATION_NAME: &str = "pageserver";

/// libpq waits for ever by default. A daemon that reconnects is better off giving up on an address
/// that swallows packets.
const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// All keywords of libpq 14 to 18 (`PQconninfoOptions`), by what becomes of them here.
const USED: &[&str] = &[
    "host",
    "hostaddr",
    "port",
    "user",
    "password",
    "passfile",
    "connect_timeout",
    "options",
    "application_name",
    "fallback_application_name",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_count",
    "tcp_user_timeout",
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "sslsni",
    "ssl_min_protocol_version",
    "channel_binding",
];

/// Keywords whose value changes nothing for a physical replication connection over this client.
const WITHOUT_EFFECT: &[&str] = &[
    "dbname",
    "replication",
    "client_encoding",
    "sslcompression",
    "krbsrvname",
    "gsslib",
    "gssdelegation",
    "load_balance_hosts",
    "authtype",
    "tty",
    "min_protocol_version",
    "max_protocol_version",
];

/// Keywords that are refused unless they ask for what happens anyway.
const ONLY_DEFAULTS: &[(&str, &[&str])] = &[
    ("service", &[]),
    ("servicefile", &[]),
    ("sslpassword", &[]),
    ("sslcrl", &[]),
    ("sslcrldir", &[]),
    ("sslkeylogfile", &[]),
    ("sslcertmode", &["allow"]),
    ("sslnegotiation", &["postgres"]),
    ("ssl_max_protocol_version", &["TLSv1.3"]),
    ("requirepeer", &[]),
    ("require_auth", &[]),
    ("target_session_attrs", &["any"]),
    ("gssencmode", &["disable", "prefer"]),
    ("oauth_issuer", &[]),
    ("oauth_client_id", &[]),
    ("oauth_client_secret", &[]),
    ("oauth_scope", &[]),
    ("scram_client_key", &[]),
    ("scram_server_key", &[]),
];

/// Checks the pairs, fills in defaults. The last of several values of a keyword wins.
pub(super) fn resolve(
    pairs: Vec<(String, String)>,
    environment: &Environment,
) -> Result<ConnInfo, ConnInfoError> {
    let settings = Settings::collect(pairs, environment)?;
    settings.check_defaults_only()?;
    let targets = targets(&settings)?;
    let user = match (settings.get("user"), &environment.user) {
        (Some(user), _) => user.to_owned(),
        (None, Some(user)) => user.clone(),
        (None, None) => return Err(ConnInfoError::NoUser),
    };
    let application_name = settings
        .get("application_name")
        .or(settings.get("fallback_application_name"))
        .unwrap_or(DEFAULT_APPLICATION_NAME)
        .to_owned();
    let passfile = match settings.get("passfile") {
        Some(path) => Some(PathBuf::from(path)),
        None => environment.home.as_ref().map(|home| home.join(".pgpass")),
    };
    Ok(ConnInfo {
        targets,
        user,
        password: settings.get("password").map(|p| Secret::new(p.to_owned())),
        passfile,
        tls: tls(&settings, environment)?,
        channel_binding: channel_binding(&settings)?,
        connect_timeout: connect_timeout(&settings)?,
        options: settings.get("options").map(str::to_owned),
        application_name,
        keepalive: keepalive(&settings)?,
    })
}

/// Values by keyword; an empty one counts as not given, as in libpq.
struct Settings(Vec<(String, String)>);

impl Settings {
    fn collect(
        pairs: Vec<(String, String)>,
        environment: &Environment,
    ) -> Result<Settings, ConnInfoError> {
        for (keyword, value) in &pairs {
            if !is_known(keyword) {
                return Err(ConnInfoError::UnknownKeyword {
                    keyword: shown_keyword(keyword),
                });
            }
            if value.contains('\0') {
                return Err(ConnInfoError::ZeroByte {
                    keyword: keyword.clone(),
                });
            }
        }
        let from_environment = VARIABLES.iter().filter_map(|(variable, keyword)| {
            let value = environment.variable(variable)?;
            Some(((*keyword).to_owned(), value.to_owned()))
        });
        let mut all: Vec<(String, String)> = from_environment.collect();
        all.extend(pairs);
        Ok(Settings(all))
    }

    fn get(&self, keyword: &str) -> Option<&str> {
        let matching = |(name, _): &&(String, String)| name == keyword;
        let (_, value) = self.0.iter().rev().find(matching)?;
        (!value.is_empty()).then_some(value)
    }

    fn check_defaults_only(&self) -> Result<(), ConnInfoError> {
        for (keyword, allowed) in ONLY_DEFAULTS {
            match self.get(keyword) {
                Some(value) if !allowed.contains(&value) => {
                    // The value of a secret keyword is not repeated.
                    let secret = keyword.contains("password")
                        || keyword.contains("secret")
                        || keyword.starts_with("scram");
                    let value = if secret { "***" } else { value }.to_owned();
                    return Err(ConnInfoError::Unsupported { keyword, value });
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// A whole number, as `parse_int_param` reads it.
    fn integer(&self, keyword: &'static str) -> Result<Option<i32>, ConnInfoError> {
        let Some(text) = self.get(keyword) else {
            return Ok(None);
        };
        let parsed = text.trim().parse().map_err(|_| ConnInfoError::BadValue {
            keyword,
            value: text.to_owned(),
            expected: "a whole number",
        })?;
        Ok(Some(parsed))
    }

    /// A positive number of seconds; zero and less mean the default.
    fn seconds(&self, keyword: &'static str) -> Result<Option<Duration>, ConnInfoError> {
        let seconds = self.integer(keyword)?.and_then(|n| u64::try_from(n).ok());
        Ok(seconds.filter(|n| *n > 0).map(Duration::from_secs))
    }

    /// A word of a list.
    fn choice<T: Copy>(
        &self,
        keyword: &'static str,
        default: T,
        choices: &[(&str, T)],
        expected: &'static str,
    ) -> Result<T, ConnInfoError> {
        let Some(text) = self.get(keyword) else {
            return Ok(default);
        };
        let found = choices.iter().find(|(word, _)| *word == text);
        found
            .map(|(_, value)| *value)
            .ok_or_else(|| ConnInfoError::BadValue {
                keyword,
                value: text.to_owned(),
                expected,
            })
    }
}

/// A keyword, quoted for a message; what is none may be part of a password and is not repeated.
pub(super) fn known_keyword(text: &str) -> String {
    if is_known(text) {
        format!("\"{text}\"")
    } else {
        "text that is no keyword".to_owned()
    }
}

fn is_known(keyword: &str) -> bool {
    USED.contains(&keyword)
        || WITHOUT_EFFECT.contains(&keyword)
        || ONLY_DEFAULTS.iter().any(|(name, _)| *name == keyword)
}

/// The servers to try (`connectOptions2`): lists of hosts, addresses and ports side by side.
fn targets(settings: &Settings) -> Result<Vec<Target>, ConnInfoError> {
    let list = |keyword| -> Vec<&str> {
        let text: Option<&str> = settings.get(keyword);
        text.map(|text| text.split(',').collect())
            .unwrap_or_default()
    };
    let (hosts, addresses, ports) = (list("host"), list("hostaddr"), list("port"));
    if !addresses.is_empty() && !hosts.is_empty() && addresses.len() != hosts.len() {
        return Err(ConnInfoError::AddressCount {
            hosts: hosts.len(),
            addresses: addresses.len(),
        });
    }
    let count = hosts.len().max(addresses.len()).max(1);
    if ports.len() > 1 && ports.len() != count {
        return Err(ConnInfoError::PortCount {
            hosts: count,
            ports: ports.len(),
        });
    }
    (0..count)
        .map(|n| {
            let port = ports.get(n).or(ports.first()).copied().unwrap_or("");
            let host = hosts.get(n).copied().unwrap_or("").trim();
            let address = addresses.get(n).copied().unwrap_or("").trim();
            Ok(Target {
                host: self::host(host, address)?,
                port: self::port(port)?,
            })
        })
        .collect()
}

fn host(name: &str, address: &str) -> Result<Host, ConnInfoError> {
    if !address.is_empty() {
        let address = address
            .parse::<IpAddr>()
            .map_err(|_| ConnInfoError::BadValue {
                keyword: "hostaddr",
                value: address.to_owned(),
                expected: "an IP address",
            })?;
        let name = (!name.is_empty()).then(|| name.to_owned());
        return Ok(Host::Address { address, name });
    }
    if name.is_empty() {
        Ok(Host::DefaultSocket)
    } else if name.starts_with('/') {
        Ok(Host::SocketDirectory(PathBuf::from(name)))
    } else if name.starts_with('@') {
        Err(ConnInfoError::Unsupported {
            keyword: "host",
            value: name.to_owned(),
        })
    } else {
        Ok(Host::Name(name.to_owned()))
    }
}

fn port(text: &str) -> Result<u16, ConnInfoError> {
    if text.is_empty() {
        return Ok(DEFAULT_PORT);
    }
    match text.trim().parse() {
        Ok(port) if port > 0 => Ok(port),
        _ => Err(ConnInfoError::BadValue {
            keyword: "port",
            value: text.to_owned(),
            expected: "a port number from 1 to 65535",
        }),
    }
}

fn tls(settings: &Settings, environment: &Environment) -> Result<TlsSettings, ConnInfoError> {
    // An ancient variable that libpq still honours.
    let required = environment
        .variable("PGREQUIRESSL")
        .is_some_and(|value| value.starts_with('1'));
    let default = if required {
        SslMode::Require
    } else {
        SslMode::Prefer
    };
    let mode = settings.choice(
        "sslmode",
        default,
        &[
            ("disable", SslMode::Disable),
            ("allow", SslMode::Allow),
            ("prefer", SslMode::Prefer),
            ("require", SslMode::Require),
            ("verify-ca", SslMode::VerifyCa),
            ("verify-full", SslMode::VerifyFull),
        ],
        "one of disable, allow, prefer, require, verify-ca, verify-full",
    )?;
    // A default path counts only if the file is there; one that was given must exist.
    let file = |keyword, name: &str| match settings.get(keyword) {
        Some(path) => Some(PathBuf::from(path)),
        None => environment
            .home
            .as_ref()
            .map(|home| home.join(".postgresql").join(name))
            .filter(|path| path.exists()),
    };
    let require_tls13 = settings.choice(
        "ssl_min_protocol_version",
        false,
        // Older ones are raised to 1.2, the oldest that the TLS library speaks.
        &[
            ("TLSv1", false),
            ("TLSv1.1", false),
            ("TLSv1.2", false),
            ("TLSv1.3", true),
        ],
        "one of TLSv1, TLSv1.1, TLSv1.2, TLSv1.3",
    )?;
    Ok(TlsSettings {
        mode,
        root_certificates: file("sslrootcert", "root.crt"),
        certificate: file("sslcert", "postgresql.crt"),
        key: file("sslkey", "postgresql.key"),
        send_host_name: settings.choice("sslsni", true, &[("0", false), ("1", true)], "0 or 1")?,
        require_tls13,
    })
}

fn channel_binding(settings: &Settings) -> Result<ChannelBinding, ConnInfoError> {
    settings.choice(
        "channel_binding",
        ChannelBinding::Prefer,
        &[
            ("disable", ChannelBinding::Disable),
            ("prefer", ChannelBinding::Prefer),
            ("require", ChannelBinding::Require),
        ],
        "one of disable, prefer, require",
    )
}

/// Zero and less mean for ever; one second is raised to two, as in libpq.
fn connect_timeout(settings: &Settings) -> Result<Option<Duration>, ConnInfoError> {
    Ok(match settings.integer("connect_timeout")? {
        None => Some(DEFAULT_CONNECT_TIMEOUT),
        Some(seconds) => u64::try_from(seconds)
            .ok()
            .filter(|seconds| *seconds > 0)
            .map(|seconds| Duration::from_secs(seconds.max(2))),
    })
}

fn keepalive(settings: &Settings) -> Result<KeepAlive, ConnInfoError> {
    let user_timeout = settings.integer("tcp_user_timeout")?;
    let count = settings.integer("keepalives_count")?;
    Ok(KeepAlive {
        enabled: settings.integer("keepalives")?.unwrap_or(1) != 0,
        idle: settings.seconds("keepalives_idle")?,
        interval: settings.seconds("keepalives_interval")?,
        count: count.and_then(|n| u32::try_from(n).ok()).filter(|n| *n > 0),
        user_timeout: user_timeout
            .and_then(|n| u64::try_from(n).ok())
            .filter(|n| *n > 0)
            .map(Duration::from_millis),
    })
}

//! What libpq's documentation says of connection strings, and what it refuses. The URLs are those
//! that libpq's own URI test covers, by kind.

use std::fs;
use std::net::{IpAddr, Ipv6Addr};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use super::*;

/// Nothing but a user name around us.
fn bare() -> Environment {
    Environment {
        user: Some("os_user".to_owned()),
        ..Environment::empty()
    }
}

fn with(variables: &[(&str, &str)]) -> Environment {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    Environment {
        variables: variables.iter().map(owned).collect(),
        ..bare()
    }
}

fn parse(text: &str) -> ConnInfo {
    ConnInfo::parse(text, &bare()).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn refuse(text: &str) -> ConnInfoError {
    match ConnInfo::parse(text, &bare()) {
        Err(error) => error,
        Ok(info) => panic!("{text} was accepted as {info:?}"),
    }
}

fn targets(text: &str) -> Vec<String> {
    parse(text).targets.iter().map(Target::to_string).collect()
}

fn password(text: &str) -> Option<String> {
    parse(text).password.map(|p| p.reveal().to_owned())
}

#[test]
fn an_empty_string_means_the_local_socket_and_the_system_user() {
    let info = parse("");
    assert_eq!(info.targets.len(), 1);
    assert_eq!(info.targets[0].host, Host::DefaultSocket);
    assert_eq!(info.targets[0].port, 5432);
    assert_eq!(info.user, "os_user");
    assert_eq!(info.application_name, "pageserver");
    assert_eq!(info.tls.mode, SslMode::Prefer);
}

#[test]
fn keywords_allow_space_quotes_and_backslashes() {
    let info = parse(" host = db1  user='o''s' ".replace("''", "\\'").as_str());
    assert_eq!(info.targets[0].host, Host::Name("db1".to_owned()));
    assert_eq!(info.user, "o's");
    assert_eq!(
        password(r"password='a b\\c\'d'").as_deref(),
        Some(r"a b\c'd")
    );
    assert_eq!(password(r"password=a\ b").as_deref(), Some("a b"));
    assert_eq!(password("password=''"), None);
    assert_eq!(parse("user=a user=b").user, "b");
}

#[test]
fn malformed_keyword_strings_are_refused() {
    assert!(matches!(
        refuse("host"),
        ConnInfoError::MissingEquals { .. }
    ));
    assert!(matches!(
        refuse("host db1"),
        ConnInfoError::MissingEquals { .. }
    ));
    assert!(matches!(
        refuse("user='x"),
        ConnInfoError::UnterminatedQuote { .. }
    ));
    assert!(matches!(
        refuse("sllmode=require"),
        ConnInfoError::UnknownKeyword { .. }
    ));
    assert!(matches!(
        refuse("user=a\0b"),
        ConnInfoError::ZeroByte { .. }
    ));
}

#[test]
fn urls_mean_what_keywords_mean() {
    let url =
        "postgres://al%40ice:s%3Acret@db.example.com:6000/x?sslmode=require&application_name=me";
    let info = parse(url);
    assert_eq!(info.user, "al@ice");
    assert_eq!(password(url).as_deref(), Some("s:cret"));
    assert_eq!(targets(url), ["db.example.com:6000"]);
    assert_eq!(info.tls.mode, SslMode::Require);
    assert_eq!(info.application_name, "me");
    assert_eq!(
        parse("postgresql://host?ssl=true").tls.mode,
        SslMode::Require
    );
    assert_eq!(password("postgres://u:pa?ss@h").as_deref(), Some("pa?ss"));
}

#[test]
fn urls_name_sockets_addresses_and_several_hosts() {
    assert_eq!(
        parse("postgres://%2Fvar%2Frun:6000").targets[0].host,
        Host::SocketDirectory(PathBuf::from("/var/run"))
    );
    assert_eq!(
        parse("postgres:///?host=/tmp&port=6000").targets[0].to_string(),
        "/tmp/.s.PGSQL.6000"
    );
    assert_eq!(targets("postgres://[::1]:6000/"), ["::1:6000"]);
    assert_eq!(
        targets("postgres://a:1,b:2,[::1]:3"),
        ["a:1", "b:2", "::1:3"]
    );
    assert_eq!(targets("postgres://a,b:2"), ["a:5432", "b:2"]);
    assert_eq!(parse("postgres://").targets[0].host, Host::DefaultSocket);
    assert_eq!(
        targets("postgres://user@:6000/"),
        ["the local socket of port 6000"]
    );
}

#[test]
fn malformed_urls_are_refused() {
    for url in [
        "postgres://host/x?zzz",
        "postgres://host/x?user=a=b",
        "postgres://[::1",
        "postgres://[]",
        "postgres://[::1]x",
        "postgres://ho%2st",
        "postgres://ho%zzst",
        "postgres://ho%00st",
        "postgres://ho%ffst",
        "postgres://host?unknown=1",
        "postgres://host:99999",
    ] {
        refuse(url);
    }
    // A scheme that is not ours is a broken keyword string.
    assert!(matches!(
        refuse("mysql://host"),
        ConnInfoError::MissingEquals { .. }
    ));
}

#[test]
fn lists_of_hosts_and_ports_go_together() {
    assert_eq!(targets("host=a,b port=1,2"), ["a:1", "b:2"]);
    assert_eq!(targets("host=a,b port=1"), ["a:1", "b:1"]);
    assert_eq!(targets("host=a,b port=1,"), ["a:1", "b:5432"]);
    assert_eq!(
        refuse("host=a,b port=1,2,3"),
        ConnInfoError::PortCount { hosts: 2, ports: 3 }
    );
    assert_eq!(
        refuse("host=a,b hostaddr=127.0.0.1"),
        ConnInfoError::AddressCount {
            hosts: 2,
            addresses: 1
        }
    );
    assert_eq!(
        parse("hostaddr=::1 host=name").targets[0].host,
        Host::Address {
            address: IpAddr::V6(Ipv6Addr::LOCALHOST),
            name: Some("name".to_owned())
        }
    );
}

#[test]
fn numbers_out_of_range_are_refused() {
    for text in [
        "port=0",
        "port=65536",
        "port=x",
        "hostaddr=localhost",
        "sslmode=maybe",
        "connect_timeout=soon",
        "channel_binding=yes",
        "sslsni=2",
        "keepalives_idle=1s",
    ] {
        assert!(
            matches!(refuse(text), ConnInfoError::BadValue { .. }),
            "{text}"
        );
    }
}

#[test]
fn timeouts_follow_libpq() {
    let timeout = |text| parse(text).connect_timeout;
    assert_eq!(timeout("connect_timeout=0"), None);
    assert_eq!(timeout("connect_timeout=-1"), None);
    assert_eq!(timeout("connect_timeout=1"), Some(Duration::from_secs(2)));
    assert_eq!(timeout("connect_timeout=7"), Some(Duration::from_secs(7)));
    let keepalive = parse(
        "keepalives=1 keepalives_idle=5 keepalives_interval=0 keepalives_count=3 tcp_user_timeout=1500",
    )
    .keepalive;
    assert!(keepalive.enabled);
    assert_eq!(keepalive.idle, Some(Duration::from_secs(5)));
    assert_eq!(keepalive.interval, None);
    assert_eq!(keepalive.count, Some(3));
    assert_eq!(keepalive.user_timeout, Some(Duration::from_millis(1500)));
    assert!(!parse("keepalives=0").keepalive.enabled);
}

#[test]
fn what_this_client_lacks_is_refused_by_name() {
    for text in [
        "service=x",
        "gssencmode=require",
        "sslcrl=/x",
        "requirepeer=postgres",
        "target_session_attrs=read-write",
        "host=@abstract",
    ] {
        let error = refuse(text);
        assert!(matches!(error, ConnInfoError::Unsupported { .. }), "{text}");
        let keyword = text.split('=').next().unwrap();
        assert!(error.to_string().contains(keyword), "{error}");
    }
    parse("gssencmode=disable target_session_attrs=any sslcompression=0 krbsrvname=x dbname=y");
}

#[test]
fn the_environment_fills_in_and_the_string_wins() {
    let environment = with(&[
        ("PGHOST", "env-host"),
        ("PGPORT", "6000"),
        ("PGUSER", "env-user"),
        ("PGPASSWORD", "env-secret"),
        ("PGSSLMODE", "verify-ca"),
        ("PGSSLROOTCERT", "/roots"),
        ("PGAPPNAME", "env-app"),
        ("PGOPTIONS", "-c a=b"),
        ("PGPASSFILE", "/pass"),
        ("UNRELATED", "x"),
    ]);
    let info = ConnInfo::parse("user=me", &environment).unwrap();
    assert_eq!(info.targets[0].to_string(), "env-host:6000");
    assert_eq!(info.user, "me");
    assert_eq!(info.password.unwrap().reveal(), "env-secret");
    assert_eq!(info.tls.mode, SslMode::VerifyCa);
    assert_eq!(info.tls.root_certificates, Some(PathBuf::from("/roots")));
    assert_eq!(info.application_name, "env-app");
    assert_eq!(info.options.as_deref(), Some("-c a=b"));
    assert_eq!(info.passfile, Some(PathBuf::from("/pass")));
    let required = with(&[("PGREQUIRESSL", "1")]);
    let mode = |text| ConnInfo::parse(text, &required).unwrap().tls.mode;
    assert_eq!(mode(""), SslMode::Require);
    assert_eq!(mode("sslmode=disable"), SslMode::Disable);
    assert_eq!(
        ConnInfo::parse("", &Environment::empty()),
        Err(ConnInfoError::NoUser)
    );
}

#[test]
fn nothing_printed_shows_a_password() {
    let secret = "tiger";
    for text in [
        "host=h password=tiger",
        "postgres://scott:tiger@h/",
        "postgres://h/?password=tiger",
    ] {
        assert!(!format!("{:?}", parse(text)).contains(secret), "{text}");
    }
    // Errors neither, not even where an unquoted password is what breaks the string.
    for text in [
        "password=cat tiger",
        "password='tiger",
        "postgres://scott:%zztiger@h",
        "postgres://h/?password=tiger=",
        "sslpassword=tiger",
        "oauth_client_secret=tiger",
        "scram_client_key=tiger",
    ] {
        let error = refuse(text);
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains(secret), "{text}: {shown}");
    }
}

/// A password file of these lines and permissions, and what it gives for `text`.
fn from_passfile(lines: &str, mode: u32, text: &str) -> (Option<String>, Option<PgpassIgnored>) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pgpass");
    fs::write(&path, lines).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    let info = parse(&format!("passfile={} {text}", path.display()));
    let (password, ignored) = info.password_for(&info.targets[0]);
    (password.map(|p| p.reveal().to_owned()), ignored)
}

fn found(lines: &str, text: &str) -> Option<String> {
    from_passfile(lines, 0o600, text).0
}

#[test]
fn the_first_matching_line_of_the_password_file_wins() {
    let lines = "# comment\n\nother:5432:replication:me:no\nh:5432:db:me:wrong-db\n\
                 h:5432:replication:me:yes\n*:*:*:*:late\n";
    assert_eq!(found(lines, "host=h user=me").as_deref(), Some("yes"));
    assert_eq!(found(lines, "host=h user=you").as_deref(), Some("late"));
    assert_eq!(found("h:5432:all:me:x\n", "host=h user=me"), None);
    assert_eq!(found("h:1:*:me:x", "host=h user=me"), None);
}

#[test]
fn the_password_file_knows_escapes_and_carriage_returns() {
    assert_eq!(
        found("h:*:*:a\\:b\\\\c:p\\:w\\\\d\r\n", r"host=h user='a:b\\c'").as_deref(),
        Some(r"p:w\d")
    );
    // An escaped star is a star.
    assert_eq!(found("\\*:*:*:me:x", "host=h user=me"), None);
    // What follows a further colon is not the password.
    assert_eq!(
        found("h:*:*:me:x:rest", "host=h user=me").as_deref(),
        Some("x")
    );
}

#[test]
fn a_default_socket_directory_is_localhost_in_the_password_file() {
    assert_eq!(found("localhost:*:*:me:x", "user=me").as_deref(), Some("x"));
    assert_eq!(
        found("localhost:*:*:me:x", "host=/tmp user=me").as_deref(),
        Some("x")
    );
    assert_eq!(
        found("/srv:*:*:me:x", "host=/srv user=me").as_deref(),
        Some("x")
    );
    assert_eq!(found("localhost:*:*:me:x", "host=/srv user=me"), None);
    assert_eq!(
        found("127.0.0.1:*:*:me:x", "hostaddr=127.0.0.1 user=me").as_deref(),
        Some("x")
    );
    assert_eq!(
        found("name:*:*:me:x", "hostaddr=127.0.0.1 host=name user=me").as_deref(),
        Some("x")
    );
}

#[test]
fn a_password_file_that_others_can_read_is_ignored_and_said_so() {
    for mode in [0o640, 0o604, 0o620] {
        let (password, ignored) = from_passfile("*:*:*:*:x", mode, "host=h");
        assert_eq!(password, None, "{mode:o}");
        assert!(ignored.unwrap().to_string().contains("0600"));
    }
    let (password, ignored) = from_passfile("*:*:*:*:x", 0o400, "host=h");
    assert_eq!((password.as_deref(), ignored), (Some("x"), None));
    // A password that was given outright makes the file irrelevant.
    let (password, ignored) = from_passfile("*:*:*:*:x", 0o644, "host=h password=y");
    assert_eq!((password.as_deref(), ignored), (Some("y"), None));
    assert_eq!(
        parse("passfile=/nowhere").password_for(&parse("").targets[0]),
        (None, None)
    );
}

#[test]
fn what_is_kept_has_everything_but_the_password() {
    let cases = [
        ("host=db1 password=hidden port=5433", "host=db1 port=5433"),
        (
            "postgres://me:hidden@db1:5433,db2/x?application_name=a%20b",
            "application_name='a b'",
        ),
        (
            r"user='o\'s' password='hidden\'s' options='-c a=b\\c' host=/run/pg",
            r"user='o\'s' options='-c a=b\\c' host=/run/pg",
        ),
        ("host='' password=''", "host=''"),
    ];
    for (text, expected) in cases {
        let kept = ConnInfo::without_secrets(text).unwrap();
        assert!(kept.contains(expected), "{kept}");
        let shows_it = kept.contains("hidden") || kept.contains("password");
        assert!(!shows_it, "{kept}");
        let mut whole = parse(text);
        whole.password = None;
        assert_eq!(parse(&kept), whole, "{kept}");
    }
}

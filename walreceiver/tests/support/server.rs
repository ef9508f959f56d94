//! A throw-away stock PostgreSQL, run as an unprivileged user if we are root.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use postgres::{Client, NoTls};
use tempfile::TempDir;
use walreceiver::{BackupOptions, BaseBackup, ConnInfo, Connection, Environment};
use walrecord::{Lsn, PgVersion};

/// The account that runs servers when we are root.
const ACCOUNT: &str = "postgres";

/// A cluster of its own, stopped and removed when dropped.
pub(crate) struct Server {
    directory: TempDir,
    pub(crate) port: u16,
}

/// What to set up.
#[derive(Default)]
pub(crate) struct Setup<'a> {
    /// Lines of `postgresql.conf`.
    pub(crate) settings: &'a [&'a str],
    /// Lines of `pg_hba.conf`; trust everywhere if empty.
    pub(crate) hba: &'a [&'a str],
    /// Files to put into the data directory: name and content.
    pub(crate) files: &'a [(&'a str, &'a [u8])],
}

impl Server {
    /// A running server with default settings.
    pub(crate) fn start() -> Server {
        Server::with(&Setup::default())
    }

    /// A running server.
    pub(crate) fn with(setup: &Setup<'_>) -> Server {
        let server = Server::create(|data| copy_tree(template(), data));
        server.configure(setup);
        server.run_start();
        server
    }

    /// A standby of `primary`, from a base backup. The WAL comes by streaming.
    pub(crate) fn standby_of(primary: &Server) -> Server {
        let server = Server::create(|data| {
            fs::create_dir(data).unwrap();
            let options = BackupOptions::default();
            let mut backup = BaseBackup::start(primary.connect(), version(), &options).unwrap();
            while let Some(archive) = backup.next_archive().unwrap() {
                tar::Archive::new(archive).unpack(data).unwrap();
            }
            backup.finish().unwrap();
            fs::set_permissions(data, PermissionsExt::from_mode(0o700)).unwrap();
            if we_are_root() {
                tool("chown", ["-R", ACCOUNT, &data.display().to_string()]);
            }
        });
        let conninfo = format!(
            "primary_conninfo = 'host=127.0.0.1 port={} user=postgres'",
            primary.port
        );
        server.configure(&Setup {
            settings: &[&conninfo],
            files: &[("standby.signal", b"")],
            ..Setup::default()
        });
        server.run_start();
        server
    }

    fn create(fill: impl FnOnce(&Path)) -> Server {
        let directory = private_directory();
        fill(&directory.path().join("data"));
        Server {
            directory,
            port: free_port(),
        }
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// A directory beside the data directory that the server may write to.
    pub(crate) fn side_directory(&self, name: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        fs::create_dir(&path).unwrap();
        give_away(&path);
        path
    }

    fn configure(&self, setup: &Setup<'_>) {
        let data = self.data();
        let socket_directory = self.directory.path().display();
        let mut settings = format!(
            "port = {}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = '{socket_directory}'\n\
             fsync = off\nshared_buffers = 16MB\nautovacuum = off\n",
            self.port
        );
        for line in setup.settings {
            writeln!(settings, "{line}").unwrap();
        }
        let mut configuration = fs::read_to_string(data.join("postgresql.conf")).unwrap();
        configuration.push_str(&settings);
        fs::write(data.join("postgresql.conf"), configuration).unwrap();
        if !setup.hba.is_empty() {
            fs::write(data.join("pg_hba.conf"), setup.hba.join("\n") + "\n").unwrap();
        }
        for (name, content) in setup.files {
            let path = data.join(name);
            fs::write(&path, content).unwrap();
            fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
            give_away(&path);
        }
    }

    pub(crate) fn run_start(&self) {
        // Output must not go to a pipe: the server would keep it open.
        let status = as_account("pg_ctl")
            .args(["start", "-w", "-t", "120", "-D"])
            .arg(self.data())
            .arg("-l")
            .arg(self.directory.path().join("log"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap();
        if !status.success() {
            let log = fs::read_to_string(self.directory.path().join("log"));
            panic!("the server does not start: {log:?}");
        }
    }

    /// `fast` or `immediate`.
    pub(crate) fn stop(&self, mode: &str) {
        succeed(&self.pg_ctl(&["stop", "-w", "-m", mode]));
    }

    pub(crate) fn promote(&self) {
        succeed(&self.pg_ctl(&["promote", "-w"]));
    }

    pub(crate) fn pg_ctl(&self, arguments: &[&str]) -> Output {
        let data = self.data();
        let mut command = as_account("pg_ctl");
        command.args(arguments).arg("-D").arg(data);
        command.output().unwrap()
    }

    /// An ordinary session of the superuser, over the Unix socket.
    pub(crate) fn sql(&self) -> Client {
        let directory = self.directory.path().display();
        let text = format!(
            "host={directory} port={} user=postgres dbname=postgres",
            self.port
        );
        Client::connect(&text, NoTls).unwrap()
    }

    pub(crate) fn execute(&self, sql: &str) {
        self.sql().batch_execute(sql).unwrap();
    }

    /// The end of durable WAL.
    pub(crate) fn flush_lsn(&self) -> walrecord::Lsn {
        let row = self
            .sql()
            .query_one("SELECT pg_current_wal_flush_lsn()::text", &[]);
        let text: String = row.unwrap().get(0);
        text.parse().unwrap()
    }

    /// How to connect over TCP as the superuser, and `more`.
    pub(crate) fn conninfo(&self, more: &str) -> ConnInfo {
        parse(&format!(
            "host=127.0.0.1 port={} user=postgres {more}",
            self.port
        ))
    }

    pub(crate) fn socket_conninfo(&self, more: &str) -> ConnInfo {
        let directory = self.directory.path().display();
        parse(&format!(
            "host={directory} port={} user=postgres {more}",
            self.port
        ))
    }

    pub(crate) fn connect(&self) -> Connection {
        Connection::connect(&self.conninfo(""), &super::no_log()).unwrap()
    }
}

impl Server {
    /// From where a slot keeps WAL, asked with SQL, which 14 knows too.
    pub(crate) fn slot_restart(&self, slot: &str) -> Lsn {
        let text = "SELECT restart_lsn::text FROM pg_replication_slots WHERE slot_name = $1";
        let row = self.sql().query_one(text, &[&slot]).unwrap();
        row.get::<_, String>(0).parse().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.pg_ctl(&["stop", "-m", "immediate"]);
    }
}

fn parse(text: &str) -> ConnInfo {
    ConnInfo::parse(text, &Environment::empty()).unwrap()
}

/// A cluster right after `initdb`, kept under the build directory from run to run.
fn template() -> &'static Path {
    static TEMPLATE: OnceLock<PathBuf> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let version = Command::new(binaries().join("postgres"))
            .arg("--version")
            .output()
            .unwrap();
        let version = String::from_utf8_lossy(&version.stdout).into_owned();
        let version = version.split(' ').nth(2).unwrap().trim().to_owned();
        let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("cluster-{version}"));
        if !kept.exists() {
            let directory = private_directory();
            let data = directory.path().join("data");
            let mut initdb = as_account("initdb");
            if self::version() >= PgVersion::V18 {
                initdb.arg("--no-data-checksums");
            }
            initdb
                .args(["-U", "postgres", "-A", "trust", "--no-sync"])
                .args(["--wal-segsize=1", "-D"])
                .arg(&data);
            succeed(&initdb.output().unwrap());
            // Appears whole or not at all; another run may have been faster.
            let unfinished = kept.with_extension(std::process::id().to_string());
            copy_tree(&data, &unfinished);
            if fs::rename(&unfinished, &kept).is_err() {
                fs::remove_dir_all(&unfinished).unwrap();
            }
        }
        kept
    })
}

fn copy_tree(from: &Path, to: &Path) {
    let output = Command::new("cp").arg("-a").arg(from).arg(to).output();
    succeed(&output.unwrap());
}

fn private_directory() -> TempDir {
    let directory = tempfile::Builder::new()
        .prefix("walreceiver")
        .tempdir()
        .unwrap();
    give_away(directory.path());
    directory
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

fn we_are_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

/// Makes the server's account the owner, if it is not ours.
fn give_away(path: &Path) {
    if we_are_root() {
        let (uid, gid) = account();
        chown(path, Some(uid), Some(gid)).unwrap();
    }
}

fn account() -> (u32, u32) {
    let accounts = fs::read_to_string("/etc/passwd").unwrap();
    let line = accounts.lines().find(|line| line.starts_with("postgres:"));
    let fields: Vec<&str> = line
        .expect("an account named postgres")
        .split(':')
        .collect();
    (fields[2].parse().unwrap(), fields[3].parse().unwrap())
}

/// A Postgres program, run as an account that it accepts.
fn as_account(program: &str) -> Command {
    let program = binaries().join(program);
    let mut command = if we_are_root() {
        let mut command = Command::new("runuser");
        command.args(["-u", ACCOUNT, "--"]).arg(&program);
        command
    } else {
        Command::new(&program)
    };
    command.current_dir("/").env("LC_ALL", "C");
    command
}

/// The major version that these tests run on: that of the variable `ZENITH_TEST_MAJOR`, else 15.
pub(crate) fn version() -> PgVersion {
    let major = std::env::var("ZENITH_TEST_MAJOR");
    let major = major.map_or(15, |major| major.parse().unwrap());
    PgVersion::from_major(major).unwrap()
}

/// Where Postgres is: a variable, the search path, the distribution's place.
pub(crate) fn binaries() -> PathBuf {
    let version = version();
    if let Some(directory) = std::env::var_os(format!("ZENITH_PG_{version}_BIN")) {
        return PathBuf::from(directory);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let major = format!(" {version}.");
    let is_version = |directory: &PathBuf| {
        let output = Command::new(directory.join("postgres"))
            .arg("--version")
            .output();
        output.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains(&major))
    };
    std::env::split_paths(&path)
        .filter(|directory| directory.join("postgres").exists())
        .find(is_version)
        .unwrap_or_else(|| PathBuf::from(format!("/usr/lib/postgresql/{version}/bin")))
}

fn succeed(output: &Output) {
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Runs a program that every development machine has.
pub(crate) fn tool<S: AsRef<OsStr>>(program: &str, arguments: impl IntoIterator<Item = S>) {
    succeed(&Command::new(program).args(arguments).output().unwrap());
}

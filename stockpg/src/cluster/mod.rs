//! A stock server that a test or the demo runs: made, started, stopped, killed, and gone with the value.
//! It listens on loopback and on a socket in a directory of its own.

mod address;
mod archive;
mod backup;
mod options;
mod process;

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use postgres::Client;
use walrecord::Lsn;

use crate::{PgInstall, Scratch};

pub use address::ServerAddress;
pub use archive::Archive;
pub use backup::BaseBackup;
pub(crate) use backup::copy_tree;
pub use options::{HbaRule, InitOptions};
pub(crate) use options::{conf_string, shell_word};
pub use process::spawn_bound_to_us;
pub(crate) use process::{ServerProcess, wait_for};

/// Time for a start or a stop; crash recovery of what a test wrote takes seconds.
const PATIENCE: Duration = Duration::from_secs(120);

/// Ports tried until one is free.
const PORT_ATTEMPTS: usize = 20;

/// How a server is asked to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopMode {
    /// Connections are ended and a shutdown checkpoint is written.
    Fast,
    /// At once, without a checkpoint: the next start recovers.
    Immediate,
}

/// A server of stock Postgres. Dropping it stops it and removes what it was made of.
#[derive(Debug)]
pub struct Cluster {
    // Dropped in this order: the server first, then its directories.
    server: Option<ServerProcess>,
    address: ServerAddress,
    install: PgInstall,
    data_dir: PathBuf,
    log: PathBuf,
    /// Settings given on the command line, which win over every file.
    overrides: Vec<String>,
    archive: Option<Archive>,
    _socket: Scratch,
    home: Option<Scratch>,
}

impl Cluster {
    /// Makes a new cluster and starts it.
    ///
    /// # Errors
    /// If `initdb` or the server fails; the message carries what they said.
    pub fn init(install: &PgInstall, options: &InitOptions) -> Result<Cluster> {
        let user = install.user();
        let home = Scratch::new(&user, options.parent.as_deref())?;
        let data_dir = home.path().join("data");
        initdb(install, options, &data_dir)?;

        let mut conf = String::from("\n# Settings of the test cluster\n");
        let fsync = if options.fsync { "on" } else { "off" };
        _ = writeln!(
            conf,
            "listen_addresses = '127.0.0.1'\nfsync = {fsync}\nwal_level = replica"
        );
        conf +=
            "max_wal_senders = 10\nmax_replication_slots = 10\nmax_prepared_transactions = 64\n";
        let mut archive = None;
        if options.archive {
            let new = Archive::create(&user, home.path().join("archive"))?;
            conf += &new.conf();
            archive = Some(new);
        }
        for line in &options.conf {
            _ = writeln!(conf, "{line}");
        }
        fs::OpenOptions::new()
            .append(true)
            .open(data_dir.join("postgresql.conf"))?
            .write_all(conf.as_bytes())?;
        fs::write(data_dir.join("pg_hba.conf"), options.hba_text())?;

        let mut cluster = Cluster::stopped(install, &data_dir, home.path().join("log"), &[])?;
        cluster.archive = archive;
        cluster.home = Some(home);
        cluster.start()?;
        Ok(cluster)
    }

    /// Starts a server on an existing data directory, which stays when the value goes. `conf` are settings
    /// (`name=value`) that win over the directory's files; as root, the directory is given to the user of
    /// Postgres.
    ///
    /// # Errors
    /// If the server does not start; the message carries the end of its log.
    pub fn open(install: &PgInstall, data_dir: &Path, conf: &[&str]) -> Result<Cluster> {
        install.user().own(data_dir)?;
        let log = data_dir.with_extension("log");
        let mut cluster = Cluster::stopped(install, data_dir, log, conf)?;
        cluster.start()?;
        Ok(cluster)
    }

    /// Makes a standby of a running server: from a base backup, with WAL by streaming. It archives to the same
    /// place once it is promoted.
    ///
    /// # Errors
    /// If the backup fails or the standby does not come up.
    pub fn standby_of(primary: &Cluster) -> Result<Cluster> {
        let home = primary.base_backup()?.into_home();
        fs::write(home.path().join("data/standby.signal"), "")?;
        primary.install.user().own(home.path())?;
        let conninfo = format!("primary_conninfo={}", primary.address.conninfo("postgres"));
        let settings = [&conninfo, "hot_standby=on", "allow_in_place_tablespaces=on"];
        let mut standby = Cluster::open_in(&primary.install, home, &settings)?;
        standby.archive.clone_from(&primary.archive);
        Ok(standby)
    }

    /// Promotes a standby, and waits until it takes writes.
    ///
    /// # Errors
    /// If it does not.
    pub fn promote(&self) -> Result<()> {
        let promoted: bool = self
            .client("postgres")?
            .query_one("SELECT pg_promote(true, 120)", &[])?
            .get(0);
        if !promoted {
            bail!("{}", self.failure("promoting it"));
        }
        Ok(())
    }

    fn stopped(
        install: &PgInstall,
        data_dir: &Path,
        log: PathBuf,
        conf: &[&str],
    ) -> Result<Cluster> {
        let socket = Scratch::new(&install.user(), None)?;
        Ok(Cluster {
            server: None,
            address: ServerAddress::new(socket.path()),
            install: install.clone(),
            data_dir: data_dir.to_owned(),
            log,
            overrides: conf.iter().map(|setting| (*setting).to_owned()).collect(),
            archive: None,
            _socket: socket,
            home: None,
        })
    }

    /// The same, but `home` goes with the value.
    pub(crate) fn open_in(install: &PgInstall, home: Scratch, conf: &[&str]) -> Result<Cluster> {
        let mut cluster = Cluster::open(install, &home.path().join("data"), conf)?;
        cluster.home = Some(home);
        Ok(cluster)
    }

    /// Starts the stopped server, on the port it had before if it ran before.
    ///
    /// # Errors
    /// If it does not come up; the message carries the end of its log.
    ///
    /// # Panics
    /// If it runs.
    pub fn start(&mut self) -> Result<()> {
        assert!(self.server.is_none(), "the server runs already");
        if self.address.port() != 0 {
            return self.start_on(self.address.port());
        }
        let mut last = None;
        for port in address::free_ports().take(PORT_ATTEMPTS) {
            let before = self.log_text().len();
            match self.start_on(port) {
                Ok(()) => return Ok(()),
                // Another process took it between our look and the server's bind.
                Err(error) if self.log_text()[before..].contains("could not bind") => {
                    last = Some(error);
                }
                Err(error) => return Err(error),
            }
        }
        Err(last.context("no free port on loopback")?)
    }

    fn start_on(&mut self, port: u16) -> Result<()> {
        self.address.set_port(port);
        let mut command = self.install.command("postgres");
        command.arg("-D").arg(&self.data_dir);
        let socket = format!(
            "unix_socket_directories={}",
            self.address.socket_dir().display()
        );
        let own = [
            format!("port={port}"),
            socket,
            "logging_collector=off".to_owned(),
        ];
        for setting in own.iter().chain(&self.overrides) {
            command.arg("-c").arg(setting);
        }
        let mut server = ServerProcess::spawn(command, &self.log)?;
        let status = self.data_dir.join("postmaster.pid");
        let up = wait_for(PATIENCE, "the server to accept connections", || {
            if let Some(status) = server.exited()? {
                bail!("postgres ended ({status})");
            }
            // The last line of the file says so (miscadmin.h, LOCK_FILE_LINE_PM_STATUS). The first is the
            // process, which tells a file that an earlier server left.
            let text = fs::read_to_string(&status).unwrap_or_default();
            let ours = text.lines().next() == Some(&server.pid().to_string());
            Ok((ours
                && text
                    .lines()
                    .nth(7)
                    .is_some_and(|line| line.trim() == "ready"))
            .then_some(()))
        });
        up.with_context(|| self.failure("starting it"))?;
        self.server = Some(server);
        Ok(())
    }

    /// Stops the server.
    ///
    /// # Errors
    /// If it does not end in time, or not cleanly after [`StopMode::Fast`].
    ///
    /// # Panics
    /// If it does not run.
    pub fn stop(&mut self, mode: StopMode) -> Result<()> {
        let mut server = self.server.take().expect("the server runs");
        server.signal(match mode {
            StopMode::Fast => libc::SIGINT,
            StopMode::Immediate => libc::SIGQUIT,
        });
        let status = server
            .wait(PATIENCE)
            .with_context(|| self.failure("stopping it"))?;
        if mode == StopMode::Fast && !status.success() {
            bail!("{}: postgres ended ({status})", self.failure("stopping it"));
        }
        Ok(())
    }

    /// Kills every process of the server at once (`SIGKILL`).
    ///
    /// # Errors
    /// If a process does not end.
    ///
    /// # Panics
    /// If it does not run.
    pub fn kill(&mut self) -> Result<()> {
        self.server.take().expect("the server runs").kill()
    }

    /// Stops and starts the server.
    ///
    /// # Errors
    /// As [`stop`](Cluster::stop) and [`start`](Cluster::start).
    ///
    /// # Panics
    /// If it does not run.
    pub fn restart(&mut self, mode: StopMode) -> Result<()> {
        self.stop(mode)?;
        self.start()
    }

    /// Leaves the directories behind, the server stopped.
    ///
    /// # Errors
    /// If it does not stop.
    pub fn keep(mut self) -> Result<PathBuf> {
        if self.server.is_some() {
            self.stop(StopMode::Fast)?;
        }
        Ok(match self.home.take() {
            Some(home) => home.keep(),
            None => self.data_dir.clone(),
        })
    }

    /// Whether it was started and not stopped.
    pub fn is_running(&self) -> bool {
        self.server.is_some()
    }

    /// How to reach it. Stays the same when the server restarts.
    pub fn address(&self) -> &ServerAddress {
        &self.address
    }

    /// A superuser's session over the socket.
    ///
    /// # Errors
    /// If the server refuses it.
    pub fn client(&self, database: &str) -> Result<Client> {
        self.address.client(database)
    }

    /// The programs that run it.
    pub fn install(&self) -> &PgInstall {
        &self.install
    }

    /// Its data directory.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// Where it archives to, if [`InitOptions::archive`] was set.
    pub fn archive(&self) -> Option<&Archive> {
        self.archive.as_ref()
    }

    /// The process id of the postmaster.
    pub fn pid(&self) -> Option<u32> {
        self.server.as_ref().map(ServerProcess::pid)
    }

    /// What it has logged.
    pub fn log_text(&self) -> String {
        fs::read(&self.log)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// Makes an empty directory beside the data directory that the server may use, for a tablespace say.
    ///
    /// # Errors
    /// If it exists or cannot be made.
    pub fn make_dir(&self, name: &str) -> Result<PathBuf> {
        let dir = self
            .data_dir
            .parent()
            .context("a data directory at the root")?
            .join(name);
        fs::create_dir(&dir).with_context(|| format!("making {}", dir.display()))?;
        self.install.user().own(&dir)?;
        Ok(dir)
    }

    /// Where the next record will be inserted.
    ///
    /// # Errors
    /// If the server cannot be asked.
    pub fn insert_lsn(&self) -> Result<Lsn> {
        self.address.insert_lsn()
    }

    /// Waits until everything before `lsn`, and a record after it, is in the archive: what recovery to `lsn`
    /// needs. Writes a restore point and ends the segment for that.
    ///
    /// # Errors
    /// If the cluster does not archive, or the archiver does not get there.
    pub fn archived_through(&self, lsn: Lsn) -> Result<()> {
        let archive = self
            .archive
            .as_ref()
            .context("the cluster does not archive")?;
        archive
            .complete(&self.address, lsn)
            .with_context(|| self.failure("archiving"))
    }

    /// Takes a base backup through SQL alone, which needs no client program.
    ///
    /// # Errors
    /// If the server refuses or a file cannot be copied.
    pub fn base_backup(&self) -> Result<BaseBackup> {
        BaseBackup::take(self)
    }

    fn failure(&self, doing: &str) -> String {
        let text = self.log_text();
        let lines: Vec<&str> = text.lines().collect();
        let tail = lines[lines.len().saturating_sub(30)..].join("\n  ");
        format!(
            "PostgreSQL in {}: {doing} failed; its log ends with\n  {tail}\n",
            self.data_dir.display()
        )
    }
}

fn initdb(install: &PgInstall, options: &InitOptions, data_dir: &Path) -> Result<()> {
    let mut command = install.command("initdb");
    command
        .arg("-D")
        .arg(data_dir)
        .args([
            "-U",
            "postgres",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C",
            "--no-sync",
        ])
        .arg(format!("--wal-segsize={}", options.wal_segsize_mb));
    if options.checksums {
        command.arg("--data-checksums");
    } else if install.version().major() >= 18 {
        command.arg("--no-data-checksums");
    }
    let output = command.output().context("starting initdb")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("initdb failed ({}): {}", output.status, said.trim());
    }
    Ok(())
}

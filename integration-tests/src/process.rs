//! The real `pageserver` process: started, listened to, killed.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread::JoinHandle;

use anyhow::{Context, Result};
use pageservice::ProtocolVersion;
use pageservice::client::PageStreamClient;

use crate::{LogLines, wait_for};

/// How a page server is started. Each start gets free ports.
#[derive(Clone, Debug)]
pub struct Daemon {
    /// The program.
    pub program: PathBuf,
    /// Its data directory.
    pub data_dir: PathBuf,
    /// Settings, as TOML.
    pub config: String,
    /// The primary's connection string.
    pub primary: Option<String>,
    /// Where the import's backup is kept, too.
    pub tee: Option<PathBuf>,
    /// Further arguments.
    pub arguments: Vec<String>,
}

impl Daemon {
    /// The program on a data directory, with nothing set.
    pub fn new(program: &str, data_dir: &Path) -> Daemon {
        Daemon {
            program: program.into(),
            data_dir: data_dir.to_owned(),
            config: String::new(),
            primary: None,
            tee: None,
            arguments: Vec::new(),
        }
    }

    /// Starts `pageserver run`.
    ///
    /// # Errors
    /// If the program cannot be started. Whether it comes up, the log says.
    pub fn start(&self) -> Result<PageServer> {
        let config = self.data_dir.with_extension("toml");
        fs::write(&config, &self.config)?;
        let mut command = self.command("run");
        command.arg("--data-dir").arg(&self.data_dir);
        command.arg("--config").arg(&config);
        for option in ["--listen-pg", "--listen-http"] {
            command.args([option, "127.0.0.1:0"]);
        }
        if let Some(primary) = &self.primary {
            command.args(["--primary", primary]);
        }
        if let Some(tee) = &self.tee {
            command.arg("--tee-backup").arg(tee);
        }
        command.args(&self.arguments);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(Stdio::piped());
        let mut child = stockpg::spawn_bound_to_us(command).context("starting the page server")?;
        let stderr = child.stderr.take().context("a pipe")?;
        let log = LogLines::default();
        let lines = log.clone();
        let reader = std::thread::spawn(move || lines.read(stderr));
        Ok(PageServer {
            child,
            log,
            reader: Some(reader),
        })
    }

    /// Runs another command of the program to its end.
    ///
    /// # Errors
    /// If the program cannot be started.
    pub fn run(&self, command: &str, arguments: &[&str]) -> Result<Output> {
        let mut process = self.command(command);
        process.args(arguments);
        Ok(process.output()?)
    }

    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.args(["--log-format", "json", name]);
        command
    }
}

/// A running page server, killed with the value.
pub struct PageServer {
    child: Child,
    /// What it logs.
    pub log: LogLines,
    reader: Option<JoinHandle<()>>,
}

impl PageServer {
    /// Kills it (`SIGKILL`), and gives its log.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn kill(mut self) -> Result<LogLines> {
        self.child.kill()?;
        self.ended()?;
        Ok(self.log.clone())
    }

    /// Asks it to stop, and waits until it has.
    ///
    /// # Errors
    /// If it does not end, or not with success.
    pub fn stop(mut self) -> Result<LogLines> {
        self.signal(libc::SIGTERM);
        let status = self.ended()?;
        anyhow::ensure!(
            status.success(),
            "it ended ({status}):\n{}",
            self.log.tail()
        );
        Ok(self.log.clone())
    }

    /// Waits until it ends by itself.
    ///
    /// # Errors
    /// If it does not.
    pub fn ended(&mut self) -> Result<ExitStatus> {
        let status = wait_for("the page server to end", || Ok(self.child.try_wait()?))?;
        if let Some(reader) = self.reader.take() {
            // It reads to the end of a pipe that nobody writes to any more.
            let _ = reader.join();
        }
        Ok(status)
    }

    /// Where it serves pages, once it does.
    ///
    /// # Errors
    /// If it ends before.
    pub fn page_stream(&self) -> Result<SocketAddr> {
        let line = self.log.wait_for("serving")?;
        Ok(line.field("page_stream").parse()?)
    }

    /// A page stream to it.
    ///
    /// # Errors
    /// If it does not serve.
    pub fn client(&self) -> Result<PageStreamClient> {
        let address = self.page_stream()?;
        Ok(PageStreamClient::connect(
            address,
            ProtocolVersion::V3,
            "main",
            "main",
        )?)
    }

    /// The most memory that it has had resident, in bytes.
    ///
    /// # Errors
    /// If the system does not say.
    pub fn peak_memory(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find(|line| line.starts_with("VmHWM:"));
        let value = line.and_then(|line| line.split_whitespace().nth(1));
        Ok(value.context("no VmHWM")?.parse::<u64>()? << 10)
    }

    fn signal(&self, signal: i32) {
        // SAFETY: plain call. The child is ours and not yet waited for, so its id names no other process.
        unsafe { libc::kill(self.child.id() as libc::pid_t, signal) };
    }
}

impl Drop for PageServer {
    fn drop(&mut self) {
        // It may have ended; and nobody is left to be told.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

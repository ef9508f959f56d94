//! The postmaster as a child process: started so that it cannot outlive us, stopped by signals.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};

/// How often a condition is looked at while waiting for it.
const POLL: Duration = Duration::from_millis(5);

/// A running `postgres`, killed with the value.
#[derive(Debug)]
pub(crate) struct ServerProcess {
    child: Child,
}

impl ServerProcess {
    /// Starts `command` with its output appended to `log`.
    pub(crate) fn spawn(mut command: Command, log: &Path) -> Result<ServerProcess> {
        let file = File::options().create(true).append(true).open(log);
        let file = file.with_context(|| format!("opening the log {}", log.display()))?;
        command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file);
        let child = spawn_bound_to_us(command).context("starting postgres")?;
        Ok(ServerProcess { child })
    }

    /// The process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its exit status, if it has ended.
    pub(crate) fn exited(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: i32) {
        // SAFETY: the child is ours and not yet waited for, so its id names no other process. A failure
        // means that it has ended already, which the next wait finds.
        unsafe { libc::kill(self.child.id() as libc::pid_t, signal) };
    }

    /// Waits until it has ended.
    pub(crate) fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        wait_for(limit, "postgres to end", || self.exited())
    }

    /// Kills it and every process of it at once, as a power cut would, and waits until all are gone.
    pub(crate) fn kill(&mut self) -> Result<()> {
        // Stopped, it starts no more children while we list them.
        self.signal(libc::SIGSTOP);
        let children = children_of(self.pid());
        self.signal(libc::SIGKILL);
        for child in &children {
            // SAFETY: plain call. The parent was stopped when the children were listed and has not waited
            // for them, so the ids are still theirs.
            unsafe { libc::kill(*child as libc::pid_t, libc::SIGKILL) };
        }
        self.child.wait()?;
        // A new server refuses to start while an old process is attached to the shared memory.
        wait_for(
            Duration::from_secs(10),
            "the processes of a killed postgres to end",
            || Ok(children.iter().all(|pid| gone(*pid)).then_some(())),
        )
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        if matches!(self.exited(), Ok(Some(_))) {
            return;
        }
        // An immediate shutdown takes the children along; a drop has nobody to report a failure to.
        self.signal(libc::SIGQUIT);
        if self.wait(Duration::from_secs(5)).is_err() {
            _ = self.kill();
        }
    }
}

/// Looks at `condition` until it gives a value.
///
/// # Errors
/// After `limit`, or when the condition fails.
pub(crate) fn wait_for<T>(
    limit: Duration,
    what: &str,
    mut condition: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(value) = condition()? {
            return Ok(value);
        }
        if start.elapsed() > limit {
            bail!("waited {} s for {what}", limit.as_secs());
        }
        thread::sleep(POLL);
    }
}

type SpawnRequest = (Command, Sender<std::io::Result<Child>>);

/// Starts a child that the kernel stops (`SIGQUIT`, for Postgres an immediate shutdown) when this process dies.
///
/// The kernel ties that to the *thread* that forked, so all are forked by one thread that never ends.
///
/// # Errors
/// If the program cannot be started.
pub fn spawn_bound_to_us(mut command: Command) -> Result<Child> {
    static SPAWNER: OnceLock<Mutex<Sender<SpawnRequest>>> = OnceLock::new();
    let parent = std::process::id();
    // SAFETY: between fork and exec only async-signal-safe calls are made: prctl and getppid.
    unsafe {
        command.pre_exec(move || {
            if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGQUIT) != 0 {
                return Err(std::io::Error::last_os_error());
            }
            // We may have died before the call; then nobody is left to send the signal.
            if libc::getppid() as u32 != parent {
                return Err(std::io::Error::from_raw_os_error(libc::ESRCH));
            }
            Ok(())
        });
    }
    let (answer, answered) = channel();
    let spawner = SPAWNER.get_or_init(|| {
        let (requests, receive) = channel::<SpawnRequest>();
        thread::spawn(move || {
            for (mut command, answer) in receive {
                // Whoever asked may have gone; a child that was started is then dropped unwaited, and
                // ends with this process.
                _ = answer.send(command.spawn());
            }
        });
        Mutex::new(requests)
    });
    let gone = || anyhow!("the thread that starts servers has ended");
    spawner
        .lock()
        .map_err(|_| gone())?
        .send((command, answer))
        .map_err(|_| gone())?;
    Ok(answered.recv().map_err(|_| gone())??)
}

/// The ids of the processes whose parent is `pid`.
fn children_of(pid: u32) -> Vec<u32> {
    let Ok(processes) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let ids = processes
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    ids.filter(|id| stat(*id).is_some_and(|(_, parent)| parent == pid))
        .collect()
}

/// Whether a process has ended, even if nobody has waited for it yet.
fn gone(pid: u32) -> bool {
    stat(pid).is_none_or(|(state, _)| state == 'Z')
}

/// State and parent of a process.
fn stat(pid: u32) -> Option<(char, u32)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before is in parentheses and may hold anything.
    let mut fields = text.rsplit_once(") ")?.1.split(' ');
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

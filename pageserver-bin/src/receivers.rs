//! The receivers of a daemon: one for each timeline that follows a primary. When a primary fails over below the end
//! of what its timeline has, a branch takes the timeline's place and goes with it. Serves `run`, `/v1` and the page
//! stream.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use anyhow::{Context, Result};
use pagecache::{NewSuccessor, Store, StoreError, Timeline, Upstream};
use slog::{Logger, error, info, o, warn};
use walreceiver::{
    ConnInfo, Control, FollowError, FollowOptions, Origin, Peer, ProbeError, ReceiverStatus,
    SlotName, SystemTiming, follow, probe,
};
use walrecord::{Lsn, TimelineId};

use crate::cli::PeerKind;
use crate::follow::{Acknowledge, TimelineSink};
use crate::import::new_timeline;

/// The server that a timeline follows.
#[derive(Clone, Debug)]
pub struct Feed {
    /// How it is reached.
    pub conninfo: ConnInfo,
    /// The slot there.
    pub slot: SlotName,
    /// What it is.
    pub peer: PeerKind,
}

impl Feed {
    /// The one that a timeline was told to follow.
    ///
    /// # Errors
    /// If the connection string makes no sense in the environment of this process.
    pub fn of_upstream(upstream: &Upstream) -> Result<Feed> {
        Ok(Feed {
            conninfo: upstream.conninfo.parse()?,
            slot: upstream.slot.parse()?,
            peer: PeerKind::Postgres,
        })
    }

    /// How `timeline` follows it.
    pub fn options(&self, timeline: &Timeline) -> FollowOptions {
        let info = timeline.info();
        let (peer, slot) = match self.peer {
            PeerKind::Postgres => (Peer::Postgres(info.version), Some(self.slot.clone())),
            PeerKind::Safekeeper => (Peer::Safekeeper, None),
        };
        let mut options = FollowOptions::new(self.conninfo.clone(), peer, info.system_identifier);
        options.slot = slot;
        // A branch that took another's place goes with the same cluster.
        let own = info.ancestor.filter(|_| info.replaces.is_none());
        options.origin = own.map(|(_, lsn)| Origin {
            timeline: timeline.pg_timeline_at(lsn),
            lsn,
        });
        options
    }

    /// Asks the server whether `timeline` can follow it.
    ///
    /// # Errors
    /// Why not.
    pub fn probe(&self, timeline: &Timeline, log: &Logger) -> Result<(), ProbeError> {
        let mut sink = TimelineSink::new(timeline, Acknowledge::Truth, &Control::new());
        probe(&self.options(timeline), &mut sink, log)
    }
}

/// The slot that a timeline has unless another is named: `zenith_` and its name.
///
/// # Errors
/// If the name is too long for one.
pub fn default_slot(timeline: &str) -> Result<SlotName> {
    let plain = |c: char| match c {
        'a'..='z' | '0'..='9' => c,
        'A'..='Z' => c.to_ascii_lowercase(),
        _ => '_',
    };
    let name: String = timeline.chars().map(plain).collect();
    format!("zenith_{name}").parse().with_context(|| {
        format!("timeline {timeline:?} has no slot by its name: name one with --slot")
    })
}

/// All receivers of a store. Cheap to clone.
#[derive(Clone)]
pub struct Receivers {
    store: Arc<Store>,
    running: Arc<Mutex<Vec<Running>>>,
    log: Logger,
}

/// A receiver and its thread.
struct Running {
    receiver: Receiver,
    thread: JoinHandle<()>,
}

/// A receiver, shared with its thread.
#[derive(Clone)]
struct Receiver {
    /// The timeline that it feeds: another one after a failover.
    fed: Arc<Mutex<Timeline>>,
    control: Control,
    status: ReceiverStatus,
}

impl Receivers {
    /// No receiver yet.
    pub fn new(store: &Arc<Store>, log: &Logger) -> Receivers {
        Receivers {
            store: Arc::clone(store),
            running: Arc::default(),
            log: log.clone(),
        }
    }

    /// Starts following a server into `timeline`.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn start(&self, timeline: &Timeline, feed: &Feed) -> Result<()> {
        let receiver = Receiver {
            fed: Arc::new(Mutex::new(timeline.clone())),
            control: Control::new(),
            status: ReceiverStatus::new(),
        };
        let (store, feed, log) = (Arc::clone(&self.store), feed.clone(), self.log.clone());
        let own = receiver.clone();
        let thread = std::thread::Builder::new()
            .name("receiver".to_owned())
            .spawn(move || own.run(&store, &feed, &log))?;
        self.lock().push(Running { receiver, thread });
        Ok(())
    }

    /// Starts what timelines were told to follow, but for those that follow already.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn start_told(&self) -> Result<()> {
        for timeline in self.store.timelines() {
            let info = timeline.info();
            let Some(upstream) = timeline.upstream() else {
                continue;
            };
            if self.status_of(info.timeline).is_some() {
                warn!(self.log, "a timeline follows the primary of the command line, not the one that it was told to";
                    "timeline" => info.name);
                continue;
            }
            match Feed::of_upstream(&upstream) {
                Ok(feed) => self.start(&timeline, &feed)?,
                Err(error) => error!(self.log, "a timeline cannot follow what it was told to";
                    "timeline" => info.name, "error" => format!("{error:#}")),
            }
        }
        Ok(())
    }

    /// How the receiver of a timeline is doing; none if it has none.
    pub fn status_of(&self, timeline: TimelineId) -> Option<ReceiverStatus> {
        let running = self.lock();
        let found = running.iter().find(|it| it.receiver.feeds(timeline));
        found.map(|it| it.receiver.status.clone())
    }

    /// Stops the receiver of a timeline, if it has one.
    pub fn stop_one(&self, timeline: TimelineId) {
        let stopped = {
            let mut running = self.lock();
            let found = running.iter().position(|it| it.receiver.feeds(timeline));
            found.map(|number| running.swap_remove(number))
        };
        stopped.into_iter().for_each(Running::stop);
    }

    /// Stops all of them.
    pub fn stop(&self) {
        let running = std::mem::take(&mut *self.lock());
        for it in &running {
            it.receiver.control.stop();
        }
        running.into_iter().for_each(Running::stop);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Running {
    fn stop(self) {
        self.receiver.control.stop();
        let _ = self.thread.join();
    }
}

impl Receiver {
    fn fed(&self) -> MutexGuard<'_, Timeline> {
        self.fed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn feeds(&self, timeline: TimelineId) -> bool {
        self.fed().info().timeline == timeline
    }

    /// Follows until it is stopped, or that is of no more use. A failure is logged where it is found, and shown in
    /// the status; what is there stays readable.
    fn run(&self, store: &Store, feed: &Feed, log: &Logger) {
        loop {
            let timeline = self.fed().clone();
            let log = log.new(o!("timeline" => timeline.info().name));
            let Err(FollowError::Forked { fork, end, .. }) = receive(
                &timeline,
                &feed.options(&timeline),
                &self.control,
                &self.status,
                &log,
            ) else {
                return;
            };
            match go_with(store, &timeline, fork) {
                Ok(successor) => {
                    warn!(log, "the primary failed over to a server that lacks the end of what was received; \
                        a branch goes on with it";
                        "fork" => %fork, "end" => %end, "kept_as" => timeline.info().name);
                    *self.fed() = successor;
                }
                Err(error) => {
                    error!(log, "no branch can go on with the primary"; "fork" => %fork, "error" => format!("{error:#}"));
                    self.status.ended(Some(format!(
                        "the primary's failover lost what is here above {fork}, and no branch can go on there: {error:#}"
                    )));
                    return;
                }
            }
        }
    }
}

/// The branch that takes the place of `timeline` where its primary left it.
fn go_with(store: &Store, timeline: &Timeline, fork: Lsn) -> Result<Timeline> {
    let successor = NewSuccessor {
        timeline: new_timeline()?,
        fork,
    };
    Ok(store.succeed(timeline, &successor)?)
}

fn receive(
    timeline: &Timeline,
    options: &FollowOptions,
    control: &Control,
    status: &ReceiverStatus,
    log: &Logger,
) -> Result<(), FollowError> {
    let mut sink = TimelineSink::new(timeline, Acknowledge::Truth, control);
    let mut timing = SystemTiming::default();
    follow(options, &mut sink, control, status, &mut timing, log)
}

/// A receiver of one timeline, whatever its primary does: it ends where the primary leaves the timeline.
pub struct Following {
    control: Control,
    thread: JoinHandle<()>,
}

impl Following {
    /// Starts following a server into `timeline`.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn start(timeline: &Timeline, feed: &Feed, log: &Logger) -> Result<Following> {
        let (options, control) = (feed.options(timeline), Control::new());
        let (timeline, own) = (timeline.clone(), control.clone());
        let log = log.new(o!("timeline" => timeline.info().name));
        let thread = std::thread::Builder::new()
            .name("receiver".to_owned())
            .spawn(move || {
                let _ = receive(&timeline, &options, &own, &ReceiverStatus::new(), &log);
            })?;
        Ok(Following { control, thread })
    }

    /// Stops following.
    pub fn stop(self) {
        self.control.stop();
        let _ = self.thread.join();
    }
}

/// Why a timeline was not told to follow a server.
#[derive(Debug, thiserror::Error)]
pub enum TellError {
    /// The connection string or the slot's name makes no sense.
    #[error("{0:#}")]
    Feed(anyhow::Error),
    /// It is no server to follow, or cannot be asked now.
    #[error("{name:?} cannot follow that server: {source}")]
    Server {
        /// The timeline's name.
        name: String,
        /// Why.
        source: ProbeError,
    },
    /// It could not be noted.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Checks that `timeline` can follow the server, and notes that it is to. The note has no password.
///
/// # Errors
/// Why not; nothing is noted then.
pub fn tell(
    timeline: &Timeline,
    conninfo: &str,
    slot: Option<&str>,
    log: &Logger,
) -> Result<Feed, TellError> {
    let name = timeline.info().name;
    let feed = || -> Result<(Feed, Upstream)> {
        let slot: SlotName = match slot {
            Some(slot) => slot.parse()?,
            None => default_slot(&name)?,
        };
        let upstream = Upstream {
            conninfo: ConnInfo::without_secrets(conninfo)?,
            slot: slot.to_string(),
        };
        let feed = Feed {
            conninfo: conninfo.parse()?,
            slot,
            peer: PeerKind::Postgres,
        };
        Ok((feed, upstream))
    };
    let (feed, upstream) = feed().map_err(TellError::Feed)?;
    feed.probe(timeline, log)
        .map_err(|source| TellError::Server {
            name: name.clone(),
            source,
        })?;
    if feed.conninfo.password.is_some() {
        warn!(log, "the password is not kept: from the next start on it has to come from PGPASSWORD or a password file";
            "timeline" => &name);
    }
    info!(log, "told to follow a server"; "timeline" => name, "server" => &upstream.conninfo);
    timeline.set_upstream(Some(upstream))?;
    Ok(feed)
}

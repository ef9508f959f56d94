//! The thread that sends status replies: at once when a position that the server acts on advances,
//! when asked, and at least every interval. Also notices a silent server and a stop.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use walrecord::PgTime;

use super::message::{self, Answer, TERMINATE};
use super::{Positions, Progress, StreamOptions};
use crate::connection::WriteHalf;
use crate::control::Control;
use crate::follow::ReceiverStatus;

/// What the two threads of a stream tell each other. Changes to it are announced by
/// [`Control::wake`].
#[derive(Debug)]
pub(super) struct Shared {
    began: Instant,
    /// When the receiving thread began to wait for the network, in microseconds since `began` plus
    /// one; zero while it does not wait. A slow sink is not a silent server.
    waiting_since: AtomicU64,
    reply_requested: AtomicBool,
    /// The receiving thread is done.
    finished: AtomicBool,
    verdict: Mutex<Option<Verdict>>,
}

/// Why the status thread ended the connection.
#[derive(Debug)]
pub(super) enum Verdict {
    Stopped,
    Silent,
    /// A reply could not be sent.
    Unsent(std::io::Error),
}

impl Shared {
    pub(super) fn new() -> Shared {
        Shared {
            began: Instant::now(),
            waiting_since: AtomicU64::new(0),
            reply_requested: AtomicBool::new(false),
            finished: AtomicBool::new(false),
            verdict: Mutex::new(None),
        }
    }

    pub(super) fn begin_wait(&self) {
        let elapsed = self.began.elapsed().as_micros() as u64;
        self.waiting_since.store(elapsed + 1, Ordering::Release);
    }

    pub(super) fn end_wait(&self) {
        self.waiting_since.store(0, Ordering::Release);
    }

    pub(super) fn request_reply(&self) {
        self.reply_requested.store(true, Ordering::Release);
    }

    pub(super) fn finish(&self) {
        self.finished.store(true, Ordering::Release);
    }

    /// Why the status thread ended the connection, if it did.
    pub(super) fn take_verdict(&self) -> Option<Verdict> {
        let mut verdict = self.verdict.lock().unwrap_or_else(PoisonError::into_inner);
        verdict.take()
    }

    fn conclude(&self, verdict: Verdict) {
        *self.verdict.lock().unwrap_or_else(PoisonError::into_inner) = Some(verdict);
    }

    fn waiting_since(&self) -> Option<Instant> {
        match self.waiting_since.load(Ordering::Acquire) {
            0 => None,
            stamp => Some(self.began + Duration::from_micros(stamp - 1)),
        }
    }
}

/// The status thread's state.
pub(super) struct Replier<'a> {
    pub(super) writer: &'a mut WriteHalf,
    pub(super) shared: &'a Shared,
    pub(super) control: &'a Control,
    pub(super) progress: &'a dyn Progress,
    pub(super) options: &'a StreamOptions,
    pub(super) status: &'a ReceiverStatus,
}

impl Replier<'_> {
    /// Runs until the receiving thread is done, or the connection has to end.
    pub(super) fn run(mut self) {
        if let Some(verdict) = self.serve() {
            self.shared.conclude(verdict);
            // Ends the read that the receiving thread is blocked in.
            self.writer.shutdown();
        }
    }

    fn serve(&mut self) -> Option<Verdict> {
        let silence = self.options.silence_timeout;
        let mut sent: Option<Positions> = None;
        let mut status_due = Instant::now();
        let mut pinged: Option<Instant> = None;
        let mut wakes = 0;
        let mut deadline = status_due;
        loop {
            let signal = self.control.wait(wakes, deadline);
            wakes = signal.wakes;
            if self.shared.finished.load(Ordering::Acquire) {
                return None;
            }
            let positions = self.progress.positions();
            if signal.stopped {
                self.say_good_bye(&positions);
                return Some(Verdict::Stopped);
            }
            let now = Instant::now();
            let waiting = self.shared.waiting_since();
            let silent =
                waiting.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
            if silent >= silence {
                return Some(Verdict::Silent);
            }
            // Once for each wait: the answer, if it comes, ends the wait.
            let ping = silent >= silence / 2 && waiting != pinged;
            let asked = self.shared.reply_requested.swap(false, Ordering::AcqRel);
            let news = sent.is_none_or(|sent| positions.matter_beside(&sent));
            if ping || asked || now >= status_due || news {
                if let Err(error) = self.send(&positions, ping) {
                    return Some(Verdict::Unsent(error));
                }
                if ping {
                    pinged = waiting;
                }
                sent = Some(positions);
                status_due = now + self.options.status_interval;
            }
            let left = if silent < silence / 2 {
                silence / 2 - silent
            } else {
                silence - silent
            };
            deadline = status_due.min(now + left);
        }
    }

    fn send(&mut self, positions: &Positions, ping: bool) -> std::io::Result<()> {
        let answer = if ping {
            Answer::Wanted
        } else {
            Answer::NotNeeded
        };
        self.status.reported(positions);
        self.writer.send(&message::status(positions, now(), answer))
    }

    /// The last positions and the end of the session, as far as the network takes them.
    fn say_good_bye(&mut self, positions: &Positions) {
        let farewell = self.send(positions, false);
        if farewell.is_ok() {
            let _ = self.writer.send(&TERMINATE);
        }
    }
}

/// The clock as Postgres counts it.
pub(super) fn now() -> PgTime {
    /// Seconds from 1970 to 2000.
    const EPOCH: u64 = 946_684_800;
    let since_unix = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let since_2000 = since_unix.saturating_sub(Duration::from_secs(EPOCH));
    i64::try_from(since_2000.as_micros()).unwrap_or(i64::MAX)
}

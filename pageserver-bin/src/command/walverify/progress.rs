//! How far a long read is, on standard error: a bar on a terminal, else a line now and then.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use walrecord::Lsn;

pub(super) struct Progress {
    start: Lsn,
    bytes: u64,
    begin: Instant,
    last: Instant,
    terminal: bool,
}

impl Progress {
    /// Progress through `bytes` bytes from `start` on.
    pub(super) fn new(start: Lsn, bytes: u64) -> Progress {
        Progress {
            start,
            bytes,
            begin: Instant::now(),
            last: Instant::now(),
            terminal: std::io::stderr().is_terminal(),
        }
    }

    pub(super) fn show(&mut self, now: Lsn) {
        let period = Duration::from_millis(if self.terminal { 200 } else { 10_000 });
        if self.last.elapsed() < period {
            return;
        }
        self.last = Instant::now();
        let done = now.saturating_sub(self.start).min(self.bytes);
        let rate = done as f64 / self.begin.elapsed().as_secs_f64().max(0.001);
        let left = (self.bytes - done) as f64 / rate.max(1.0);
        let percent = done * 100 / self.bytes.max(1);
        let figures = format!("{percent:3}%  {:.0} MB/s  {left:.0} s left", rate / 1e6);
        let mut out = std::io::stderr();
        // Nobody is told if standard error is closed.
        let _ = if self.terminal {
            let bar: String = (0..25)
                .map(|i| if i * 4 < percent { '#' } else { '.' })
                .collect();
            write!(out, "\rverifying [{bar}] {figures}  ")
        } else {
            writeln!(out, "verifying: at {now}, {figures}")
        };
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.terminal {
            let _ = write!(std::io::stderr(), "\r{:60}\r", "");
        }
    }
}

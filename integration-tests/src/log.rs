//! Log lines: ours to the test's output, a page server's read as what they say.

use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use slog::{Drain, Logger, o};

use crate::PATIENCE;

/// A logger that writes to the test's captured output.
pub fn logger() -> Logger {
    struct Lines;
    impl Drain for Lines {
        type Ok = ();
        type Err = slog::Never;

        #[expect(clippy::print_stderr, reason = "the test harness captures it")]
        fn log(
            &self,
            record: &slog::Record<'_>,
            values: &slog::OwnedKVList,
        ) -> Result<(), slog::Never> {
            struct Pairs(String);
            impl slog::Serializer for Pairs {
                fn emit_arguments(
                    &mut self,
                    key: slog::Key,
                    value: &std::fmt::Arguments<'_>,
                ) -> slog::Result {
                    use std::fmt::Write as _;
                    let _ = write!(self.0, " {key}={value}");
                    Ok(())
                }
            }
            let mut pairs = Pairs(String::new());
            let _ = slog::KV::serialize(&record.kv(), record, &mut pairs);
            let _ = slog::KV::serialize(values, record, &mut pairs);
            eprintln!("{} {}{}", record.level(), record.msg(), pairs.0);
            Ok(())
        }
    }
    Logger::root(Lines.fuse(), o!())
}

/// A line of a page server's log.
#[derive(Clone, Debug)]
pub struct LogLine {
    /// `INFO`, `WARN`, `ERRO`, `CRIT`; `TEXT` for what is no log line, such as the last words of a process.
    pub level: String,
    /// The message.
    pub message: String,
    /// The whole line.
    pub text: String,
    fields: serde_json::Value,
}

impl LogLine {
    fn parse(text: &str) -> LogLine {
        let fields: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
        let field = |name: &str| fields[name].as_str().map(str::to_owned);
        LogLine {
            level: field("level").unwrap_or_else(|| "TEXT".to_owned()),
            message: field("msg").unwrap_or_else(|| text.to_owned()),
            text: text.to_owned(),
            fields,
        }
    }

    /// A field as text, empty if it is not there.
    pub fn field(&self, name: &str) -> &str {
        self.fields[name].as_str().unwrap_or_default()
    }

    /// Whether it tells of something that is wrong.
    pub fn is_trouble(&self) -> bool {
        self.level != "INFO" && self.level != "DEBG"
    }
}

/// All lines that a page server has logged, as they come.
#[derive(Clone, Default)]
pub struct LogLines(Arc<(Mutex<State>, Condvar)>);

#[derive(Default)]
struct State {
    lines: Vec<LogLine>,
    ended: bool,
}

impl LogLines {
    /// Reads lines until the stream ends.
    pub(crate) fn read(&self, stream: impl Read) {
        for line in BufReader::new(stream).split(b'\n') {
            let Ok(line) = line else { break };
            let line = LogLine::parse(&String::from_utf8_lossy(&line));
            self.lock().lines.push(line);
            self.0.1.notify_all();
        }
        self.lock().ended = true;
        self.0.1.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All lines so far.
    pub fn all(&self) -> Vec<LogLine> {
        self.lock().lines.clone()
    }

    /// The first line so far for which this holds.
    pub fn find(&self, wanted: impl Fn(&LogLine) -> bool) -> Option<LogLine> {
        self.lock().lines.iter().find(|line| wanted(line)).cloned()
    }

    /// Waits for a line with this message.
    ///
    /// # Errors
    /// If the process ends without it, or it does not come.
    pub fn wait_for(&self, message: &str) -> Result<LogLine> {
        self.wait_until(|line| line.message == message)
            .with_context(|| format!("waiting for the log line {message:?}"))
    }

    /// Waits for a line for which this holds.
    ///
    /// # Errors
    /// If the process ends without it, or it does not come.
    pub fn wait_until(&self, wanted: impl Fn(&LogLine) -> bool) -> Result<LogLine> {
        let begin = Instant::now();
        let mut state = self.lock();
        let mut seen = 0;
        loop {
            if let Some(line) = state.lines[seen..].iter().find(|line| wanted(line)) {
                return Ok(line.clone());
            }
            seen = state.lines.len();
            let left = PATIENCE.saturating_sub(begin.elapsed());
            if state.ended || left.is_zero() {
                let how = if state.ended { "ended" } else { "goes on" };
                drop(state);
                bail!(
                    "the page server {how} without it; its log:\n{}",
                    self.tail()
                );
            }
            let waited = self.0.1.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The last lines.
    pub fn tail(&self) -> String {
        let state = self.lock();
        let lines = &state.lines[state.lines.len().saturating_sub(40)..];
        let lines: Vec<&str> = lines.iter().map(|line| line.text.as_str()).collect();
        lines.join("\n")
    }
}

//! Where log lines go: standard error, as text for people or JSON for machines.

use std::io::IsTerminal;
use std::sync::Mutex;

use slog::{Drain, Level, LevelFilter, Logger, o};

use crate::cli::LogFormat;

/// What is logged: commands that are asked and answered only warn.
pub fn level(verbose: bool, quiet: bool) -> Level {
    match (verbose, quiet) {
        (true, _) => Level::Debug,
        (false, true) => Level::Warning,
        (false, false) => Level::Info,
    }
}

/// The logger of the process.
pub fn logger(format: LogFormat, level: Level) -> Logger {
    match format {
        LogFormat::Json => {
            let drain = slog_json::Json::default(std::io::stderr());
            root(Mutex::new(drain), level)
        }
        LogFormat::Auto if std::io::stderr().is_terminal() => {
            let decorator = slog_term::TermDecorator::new().stderr().build();
            text(decorator, level)
        }
        LogFormat::Auto | LogFormat::Text => {
            text(slog_term::PlainSyncDecorator::new(std::io::stderr()), level)
        }
    }
}

fn text<D>(decorator: D, level: Level) -> Logger
where
    D: slog_term::Decorator + Send + 'static,
{
    let format = slog_term::FullFormat::new(decorator)
        .use_original_order()
        .build();
    root(Mutex::new(format), level)
}

fn root<D>(drain: Mutex<D>, level: Level) -> Logger
where
    D: Drain<Err: std::fmt::Debug> + Send + 'static,
    Mutex<D>: Drain<Err: std::fmt::Debug>,
{
    // A queue of its own: a slow terminal must not slow the threads that log.
    let queued = slog_async::Async::new(drain.fuse())
        .chan_size(4096)
        .overflow_strategy(slog_async::OverflowStrategy::DropAndReport)
        .build();
    Logger::root(LevelFilter::new(queued, level).fuse(), o!())
}

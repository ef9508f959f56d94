//! `pageserver lsn`, `time`, `page history`, `checkpoint` and `verify`: asked of a running server, or of a
//! data directory.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use pagecache::{Timeline, VerifyStage};
use pageservice::http::{
    CheckpointDone, HistoryRequest, LsnOfTime, MAX_VERSIONS, PageHistory, PageVersion, TimeKind,
    TimeOfLsn, VerifyDone,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use slog::Logger;
use walrecord::Lsn;

use super::client::Server;
use super::{answer, open_offline, settled};
use crate::cli;
use crate::moment::Moment;
use crate::past;

/// Where a question goes.
pub(super) enum Asked {
    /// To a running server: what its paths begin with.
    Server(Server, String),
    /// To a data directory. The store is held open.
    Files(Box<(pagecache::Store, Timeline)>),
}

impl Asked {
    pub(super) fn new(server: &cli::Server, timeline: &str, log: &Logger) -> Result<Asked> {
        let Some(dir) = &server.data_dir else {
            let base = format!("/v1/tenant/{timeline}/timeline/{timeline}");
            return Ok(Asked::Server(Server::new(&server.server), base));
        };
        let store = open_offline(dir, log)?;
        let timeline = settled(&store, timeline)?;
        Ok(Asked::Files(Box::new((store, timeline))))
    }
}

fn get<T: DeserializeOwned>(server: &Server, base: &str, rest: &str) -> Result<T> {
    server.get(&format!("{base}/{rest}"))
}

/// The LSN that a command means by its `--lsn` or `--time`, none if it has neither.
pub(super) fn position(
    at: &cli::At,
    timeline: &str,
    server: &cli::Server,
    log: &Logger,
) -> Result<Option<Lsn>> {
    let Some(time) = at.time else {
        return Ok(at.lsn);
    };
    let found = ask_lsn(&Asked::new(server, timeline, log)?, time)?;
    if found.kind == TimeKind::Future {
        note(&format!(
            "no transaction is known that ended after {time}; taking {}, the newest",
            found.lsn
        ));
    }
    Ok(Some(found.lsn))
}

fn ask_lsn(asked: &Asked, time: Moment) -> Result<LsnOfTime> {
    Ok(match asked {
        Asked::Server(server, base) => {
            let time = time.to_string().replace('+', "%2B").replace(' ', "%20");
            get(
                server,
                base,
                &format!("get_lsn_by_timestamp?timestamp={time}"),
            )?
        }
        Asked::Files(files) => past::lsn_of_time(&files.1, time)?,
    })
}

/// `pageserver lsn`
///
/// # Errors
/// If nothing is known of that time.
pub fn lsn(args: &cli::LsnOfTime, log: &Logger) -> Result<()> {
    let found = ask_lsn(
        &Asked::new(&args.of.ask.server, &args.of.timeline, log)?,
        args.time,
    )?;
    if args.of.ask.json {
        return json(&found);
    }
    answer(&found.lsn.to_string());
    match &found.stops_before {
        Some(end) => note(&format!(
            "recovery to {} stops before the {} of transaction {} at {}, whose record ends at {}",
            args.time,
            if end.committed { "commit" } else { "abort" },
            end.xid,
            end.time,
            end.lsn
        )),
        None => note(&format!(
            "no transaction is known that ended after {}: this is the last record as of now, and recovery \
             would wait for more WAL",
            args.time
        )),
    }
    Ok(())
}

/// `pageserver time`
///
/// # Errors
/// If no commit or abort is known there.
pub fn time(args: &cli::TimeOfLsn, log: &Logger) -> Result<()> {
    let found: TimeOfLsn = match Asked::new(&args.of.ask.server, &args.of.timeline, log)? {
        Asked::Server(server, base) => {
            let lsn = args.lsn.map_or(String::new(), |lsn| format!("?lsn={lsn}"));
            get(&server, &base, &format!("get_timestamp_of_lsn{lsn}"))?
        }
        Asked::Files(files) => past::time_of_lsn(&files.1, args.lsn)?,
    };
    if args.of.ask.json {
        return json(&found);
    }
    answer(&found.timestamp);
    Ok(())
}

/// `pageserver checkpoint`
///
/// # Errors
/// If it cannot be done.
pub fn checkpoint(args: &cli::Checkpoint, log: &Logger) -> Result<()> {
    let done: CheckpointDone = match Asked::new(&args.of.ask.server, &args.of.timeline, log)? {
        Asked::Server(server, base) => server.post(&format!("{base}/checkpoint"), "")?,
        Asked::Files(files) => past::checkpoint(&files.1)?,
    };
    if args.of.ask.json {
        return json(&done);
    }
    let to = done.disk_consistent_lsn;
    answer(&match (done.layers_written, done.previous_lsn == to) {
        (_, true) => format!("everything up to {to} is in layer files already"),
        (layers, _) => format!(
            "everything up to {to} is in layer files ({} before); {layers} written, {:.1} MB",
            done.previous_lsn,
            done.bytes_written as f64 / 1e6
        ),
    });
    Ok(())
}

/// `pageserver page history`
///
/// # Errors
/// If what is stored cannot be read.
pub fn page_history(args: &cli::PageHistory, log: &Logger) -> Result<()> {
    let tag = args.page.tag();
    let asked = Asked::new(&args.of.ask.server, &args.of.timeline, log)?;
    let mut left = args.limit.unwrap_or(u32::MAX);
    let mut lsn = position(&args.at, &args.of.timeline, &args.of.ask.server, log)?;
    let mut listed = Listed::new(args.of.ask.json);
    loop {
        let request = HistoryRequest {
            tag,
            lsn,
            limit: left.min(MAX_VERSIONS),
        };
        let part: PageHistory = match &asked {
            Asked::Server(server, base) => {
                let lsn = lsn.map_or(String::new(), |lsn| format!("&lsn={lsn}"));
                let page = format!("rel={}&fork={}&block={}", tag.rel, tag.fork, tag.block);
                let path = format!("history?{page}{lsn}&limit={}", request.limit);
                get(server, base, &path)?
            }
            Asked::Files(files) => past::page_history(&files.1, request)?,
        };
        for version in &part.versions {
            listed.show(version)?;
        }
        left = left.saturating_sub(part.versions.len() as u32);
        lsn = part.next_lsn;
        if left == 0 || lsn.is_none() {
            break;
        }
    }
    listed.end();
    if listed.count == 0 {
        note(&format!("nothing is known of {tag}"));
    }
    Ok(())
}

/// Versions as they are shown: a line each, or an array of JSON objects. Written as they come, whatever their
/// number.
struct Listed {
    json: bool,
    count: u64,
}

impl Listed {
    fn new(json: bool) -> Listed {
        if json {
            answer("[");
        }
        Listed { json, count: 0 }
    }

    fn show(&mut self, version: &PageVersion) -> Result<()> {
        self.count += 1;
        if self.json {
            let comma = if self.count == 1 { " " } else { "," };
            answer(&format!("{comma}{}", serde_json::to_string(version)?));
            return Ok(());
        }
        let end = match &version.transaction {
            Some(end) if end.committed => end.time.clone(),
            Some(end) => format!("aborted {}", end.time),
            None => "-".to_owned(),
        };
        let record = match (&version.rmgr, &version.record) {
            (Some(rmgr), record) => format!("{rmgr}/{}", record.as_deref().unwrap_or("?")),
            (None, _) => String::new(),
        };
        let line = format!(
            "{:<17} {:<9} {:<32} {:<24} {:<22} {} {}",
            version.lsn.to_string(),
            version.kind,
            end,
            record,
            version.origin.as_deref().unwrap_or(""),
            version.description.as_deref().unwrap_or(""),
            version.page.as_deref().unwrap_or(""),
        );
        answer(line.trim_end());
        Ok(())
    }

    fn end(&self) {
        if self.json {
            answer("]");
        }
    }
}

/// `pageserver verify`
///
/// # Errors
/// If anything is wrong.
pub fn verify(args: &cli::Verify, log: &Logger) -> Result<()> {
    let lsn = position(&args.at, &args.of.timeline, &args.of.ask.server, log)?;
    let done: VerifyDone = match Asked::new(&args.of.ask.server, &args.of.timeline, log)? {
        Asked::Server(server, base) => {
            let lsn = lsn.map_or(String::new(), |lsn| format!("?lsn={lsn}"));
            server.post(&format!("{base}/verify{lsn}"), "")?
        }
        Asked::Files(files) => {
            let mut bar = Bar::new();
            let done = past::verify(&files.1, lsn, &mut |stage, done, total| {
                bar.show(stage, done, total);
            });
            drop(bar);
            done?
        }
    };
    if args.of.ask.json {
        json(&done)?;
    } else {
        show_verified(&done);
    }
    match done.finding_count {
        0 => Ok(()),
        count => bail!(
            "{count} things are wrong with timeline {}",
            args.of.timeline
        ),
    }
}

fn show_verified(done: &VerifyDone) {
    for finding in &done.findings {
        let mut line = match (&finding.file, finding.offset) {
            (Some(file), Some(offset)) => format!("{file} at {offset}: "),
            (Some(file), None) => format!("{file}: "),
            _ => String::new(),
        };
        if let Some(key) = &finding.key {
            line += key;
            line += if finding.file.is_some() {
                " on: "
            } else {
                ": "
            };
        }
        answer(&(line + &finding.problem));
    }
    let unlisted = done.finding_count - done.findings.len() as u64;
    if unlisted > 0 {
        answer(&format!("and {unlisted} more"));
    }
    answer(&format!(
        "read {} layers ({:.1} MB) and {} records ({:.1} MB of WAL), rebuilt {} pages of {} forks",
        done.layers,
        done.layer_bytes as f64 / 1e6,
        done.records,
        done.wal_bytes as f64 / 1e6,
        done.pages,
        done.forks
    ));
    if done.pages_lost > 0 {
        answer(&format!("{} pages cannot be rebuilt", done.pages_lost));
    }
}

/// How far a verification is, on standard error: a bar on a terminal, else a line now and then.
struct Bar {
    stage: VerifyStage,
    begin: Instant,
    last: Instant,
    terminal: bool,
}

impl Bar {
    fn new() -> Bar {
        Bar {
            stage: VerifyStage::Layers,
            begin: Instant::now(),
            last: Instant::now(),
            terminal: std::io::stderr().is_terminal(),
        }
    }

    fn show(&mut self, stage: VerifyStage, done: u64, total: u64) {
        if stage != self.stage {
            (self.stage, self.begin) = (stage, Instant::now());
        }
        let period = Duration::from_millis(if self.terminal { 200 } else { 10_000 });
        if self.last.elapsed() < period {
            return;
        }
        self.last = Instant::now();
        let rate = done as f64 / self.begin.elapsed().as_secs_f64().max(0.001);
        let left = total.saturating_sub(done) as f64 / rate.max(1.0);
        let percent = done * 100 / total.max(1);
        let (what, figures) = match stage {
            VerifyStage::Layers => ("reading layers", format!("{:.0} MB/s", rate / 1e6)),
            VerifyStage::Wal => ("reading WAL", format!("{:.0} MB/s", rate / 1e6)),
            VerifyStage::Pages => ("rebuilding pages", format!("{rate:.0} pages/s")),
        };
        let mut out = std::io::stderr();
        // Nobody is told if standard error is closed.
        let _ = if self.terminal {
            let bar: String = (0..25)
                .map(|i| if i * 4 < percent { '#' } else { '.' })
                .collect();
            write!(
                out,
                "\r{what:<16} [{bar}] {percent:3}%  {figures}  {left:.0} s left  "
            )
        } else {
            writeln!(out, "{what}: {percent}%, {figures}, {left:.0} s left")
        };
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if self.terminal {
            let _ = write!(std::io::stderr(), "\r{:79}\r", "");
        }
    }
}

pub(super) fn json(value: &impl Serialize) -> Result<()> {
    answer(&serde_json::to_string_pretty(value)?);
    Ok(())
}

/// What a person wants to know besides the answer.
fn note(line: &str) {
    // Nobody is told if standard error is closed.
    let _ = writeln!(std::io::stderr(), "{line}");
}

//! Answers about the past of a timeline, as `/v1` and the command line give them: times and LSNs, the
//! versions of a page, verification.

use std::ops::ControlFlow;
use std::time::Duration;

use pagecache::{
    EndedTransaction, PageVersionKind, TimeError, Timeline, VerifyStage, VerifyWatch, VersionOrigin,
};
use pageservice::http::{
    CheckpointDone, Finding, HistoryRequest, LsnOfTime, PageHistory, PageVersion, TimeKind,
    TimeOfLsn, TransactionEnd, VerifyDone,
};
use pageservice::{ErrorKind, SourceError};
use walrecord::describe::{Text, describe};
use walrecord::rmgr::record_name;
use walrecord::{Lsn, PageKey, Record, RmgrId};

use crate::moment::Moment;
use crate::serve::read_error;

/// Findings that are listed; the rest are counted.
const MAX_FINDINGS: usize = 1000;

/// How long a checkpoint may take.
pub const CHECKPOINT_LIMIT: Duration = Duration::from_secs(300);

/// Writes everything up to the last record into layer files, and says what that took.
///
/// # Errors
/// If it takes too long; the disk may be full.
pub fn checkpoint(timeline: &Timeline) -> Result<CheckpointDone, SourceError> {
    let previous_lsn = timeline.progress().disk_consistent;
    let before = timeline.sizes();
    let done = timeline.checkpoint(CHECKPOINT_LIMIT);
    let disk_consistent_lsn = done.map_err(|error| match timeline.flush_failure() {
        Some(failure) => SourceError::new(ErrorKind::Timeout, format!("{error}: {failure}")),
        None => SourceError::new(ErrorKind::Timeout, error),
    })?;
    let after = timeline.sizes();
    Ok(CheckpointDone {
        disk_consistent_lsn,
        previous_lsn,
        layers_written: after.layers.saturating_sub(before.layers),
        bytes_written: after.layer_bytes.saturating_sub(before.layer_bytes),
    })
}

/// The LSN that recovery to a moment would stop at.
///
/// # Errors
/// If nothing is known of that time.
pub fn lsn_of_time(timeline: &Timeline, moment: Moment) -> Result<LsnOfTime, SourceError> {
    let found = timeline.lsn_of_time(moment.get());
    let target = found.map_err(|error| match error {
        TimeError::Before { since } => SourceError::new(
            ErrorKind::NotReadable,
            format!(
                "no LSN is known for {moment}: times are known from {} on",
                Moment::new(since)
            ),
        ),
        TimeError::Unknown => SourceError::new(ErrorKind::NotReadable, error),
        TimeError::Read(error) => read_error(error),
    })?;
    Ok(LsnOfTime {
        lsn: target.lsn,
        kind: match target.stops_before {
            Some(_) => TimeKind::Present,
            None => TimeKind::Future,
        },
        stops_before: target.stops_before.map(transaction_end),
    })
}

/// The time of the last commit or abort at or below an LSN; of the last record if none is given.
///
/// # Errors
/// If the LSN is not readable, or no commit or abort is known there.
pub fn time_of_lsn(timeline: &Timeline, lsn: Option<Lsn>) -> Result<TimeOfLsn, SourceError> {
    let lsn = lsn.unwrap_or(timeline.progress().last_record);
    let found = timeline.time_of_lsn(lsn).map_err(read_error)?;
    let transaction = found.map(transaction_end).ok_or_else(|| {
        let text = format!("no commit or abort is known at or below {lsn}");
        SourceError::new(ErrorKind::NotFound, text)
    })?;
    Ok(TimeOfLsn {
        lsn,
        timestamp: transaction.time.clone(),
        transaction,
    })
}

/// The versions of a page, newest first.
///
/// # Errors
/// If what is stored cannot be read.
pub fn page_history(
    timeline: &Timeline,
    request: HistoryRequest,
) -> Result<PageHistory, SourceError> {
    let page = PageKey::Block(request.tag);
    let mut history = PageHistory {
        page: page.to_string(),
        versions: Vec::new(),
        next_lsn: None,
    };
    let limit = request.limit as usize;
    let upto = request.lsn.unwrap_or(Lsn::MAX);
    timeline
        .page_history(page, upto, &mut |version| {
            let versions = &mut history.versions;
            // All of one LSN come together: the rest is asked for by LSN.
            let ends = versions.last().is_some_and(|last| last.lsn != version.lsn);
            if ends && versions.len() >= limit {
                history.next_lsn = Some(version.lsn);
                return ControlFlow::Break(());
            }
            versions.push(page_version(page, &version));
            ControlFlow::Continue(())
        })
        .map_err(read_error)?;
    Ok(history)
}

fn page_version(page: PageKey, version: &pagecache::PageVersion) -> PageVersion {
    let kind = match version.kind {
        PageVersionKind::Image => "image",
        PageVersionKind::Delta => "delta",
        PageVersionKind::Init => "init",
        PageVersionKind::Implicit => "implicit",
        PageVersionKind::Dropped => "dropped",
        PageVersionKind::Truncated(_) => "truncated",
        PageVersionKind::DatabaseDropped => "database dropped",
        PageVersionKind::DatabaseCopied => "database copied",
    };
    let mut shown = PageVersion {
        lsn: version.lsn,
        kind: kind.to_owned(),
        origin: version.origin.map(|origin| match origin {
            VersionOrigin::Wal { .. } => "wal".to_owned(),
            VersionOrigin::Memory => "memory".to_owned(),
            VersionOrigin::Layer(layer) => format!("{layer}.layer"),
        }),
        page: (version.key != page).then(|| version.key.to_string()),
        rmgr: None,
        record: None,
        description: None,
        xid: None,
        transaction: version.transaction.map(transaction_end),
    };
    if let PageVersionKind::Truncated(blocks) = version.kind {
        shown.description = Some(format!("to {blocks} blocks"));
    }
    let (start, end) = (version.start(), version.lsn);
    if let Ok(record) = Record::parse(version.version, start, end, &version.record)
        && !version.record.is_empty()
    {
        describe_record(&record, &mut shown);
    }
    shown
}

fn describe_record(record: &Record<'_>, shown: &mut PageVersion) {
    shown.rmgr = Some(match record.header.rmgr {
        RmgrId::BuiltIn(rmgr) => rmgr.name().to_owned(),
        RmgrId::Custom(number) => format!("custom{number}"),
    });
    shown.record = record_name(record).map(str::to_owned);
    shown.xid = Some(record.header.xid);
    let mut text = Text::new();
    // What was trimmed away cannot be described.
    if describe(record, &mut text).is_ok() && !text.is_empty() {
        shown.description = Some(String::from_utf8_lossy(text.as_bytes()).trim().to_owned());
    }
}

/// Reads everything that is stored, and rebuilds every page at an LSN; `progress` is told how far that is.
///
/// # Errors
/// If the LSN is not readable.
pub fn verify(
    timeline: &Timeline,
    lsn: Option<Lsn>,
    progress: &mut dyn FnMut(VerifyStage, u64, u64),
) -> Result<VerifyDone, SourceError> {
    let mut watch = Collector {
        findings: Vec::new(),
        progress,
    };
    let lsn = match lsn {
        None => None,
        Some(lsn) => {
            let position = timeline.read_position(lsn);
            Some(position.map_err(|error| read_error(error.into()))?)
        }
    };
    let verified = timeline.verify(lsn, &mut watch).map_err(read_error)?;
    Ok(VerifyDone {
        findings: watch.findings,
        finding_count: verified.findings,
        layers: verified.layers,
        layer_bytes: verified.layer_bytes,
        wal_bytes: verified.wal_bytes,
        records: verified.records,
        forks: verified.forks,
        pages: verified.pages,
        pages_lost: verified.pages_lost,
    })
}

struct Collector<'a> {
    findings: Vec<Finding>,
    progress: &'a mut dyn FnMut(VerifyStage, u64, u64),
}

impl VerifyWatch for Collector<'_> {
    fn finding(&mut self, finding: pagecache::Finding) {
        if self.findings.len() < MAX_FINDINGS {
            self.findings.push(Finding {
                file: finding.file.map(|file| file.display().to_string()),
                offset: finding.offset,
                key: finding.key,
                lsn: finding.lsn,
                problem: finding.problem,
            });
        }
    }

    fn progress(&mut self, stage: VerifyStage, done: u64, total: u64) {
        (self.progress)(stage, done, total);
    }
}

fn transaction_end(end: EndedTransaction) -> TransactionEnd {
    TransactionEnd {
        time: Moment::new(end.time).to_string(),
        lsn: end.lsn,
        xid: end.xid,
        committed: end.committed,
    }
}

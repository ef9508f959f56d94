//! `pageserver walverify`: whether redo makes the pages that WAL written with
//! `wal_consistency_checking = all` expects.

mod coverage;
mod directory;
mod progress;
mod report;
mod run;

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use slog::{Logger, info, warn};
use walrecord::RedoRules;
use walredo::{Base, Share, VerifyOptions};

use self::directory::Directory;
use self::report::{Kind, Report, line};
use super::answer;
use crate::cli::WalVerify;
use crate::import::NEWEST_MINOR;

/// Pages in a megabyte.
const PAGES_PER_MB: usize = 128;

/// Verifies each directory, and tells.
///
/// # Errors
/// If a page differs from what the WAL expects, if nothing could be compared, or the WAL cannot be read.
pub fn walverify(args: &WalVerify, log: &Logger) -> Result<()> {
    let mut reports = Vec::new();
    for path in &args.paths {
        let report = if path.is_dir() {
            verify(path, args, log).with_context(|| format!("verifying {}", path.display()))?
        } else {
            load(path)?
        };
        if !args.json && !args.coverage_markdown {
            answer(&report.text());
        }
        reports.push(report);
    }
    if args.coverage_markdown {
        answer(coverage::markdown(&reports).trim_end());
    } else if args.json {
        answer(&serde_json::to_string_pretty(&reports)?);
    }
    let sum = |field: fn(&Report) -> u64| reports.iter().map(field).sum::<u64>();
    match (sum(|it| it.equal), sum(|it| it.different)) {
        (_, 1..) => bail!(
            "{} pages are not what the WAL expects",
            sum(|it| it.different)
        ),
        (0, _) => bail!(
            "the WAL says of no page what is expected: it must be written with wal_consistency_checking = all"
        ),
        _ => Ok(()),
    }
}

/// Replays one directory.
fn verify(path: &Path, args: &WalVerify, log: &Logger) -> Result<Report> {
    let directory = Directory::open(path)?;
    if directory.passed_over() > 0 {
        warn!(log, "segments of other timelines are passed over"; "files" => directory.passed_over());
    }
    let jobs = match args.jobs {
        Some(jobs) => jobs,
        None => std::thread::available_parallelism().map_or(1, |cores| cores.get().min(8) as u32),
    };
    let version = directory.version();
    let options = VerifyOptions {
        rules: RedoRules {
            version,
            minor: args.minor.unwrap_or(NEWEST_MINOR),
            hint_bits_logged: !args.no_hint_bits,
        },
        base: if args.reseed {
            Base::Expected
        } else {
            Base::Carried
        },
        share: Share::ALL,
        max_pages: (args.memory_mb as usize).saturating_mul(PAGES_PER_MB) / jobs as usize,
        track_commit_timestamp: true,
    };
    let begin = Instant::now();
    let outcome = run::run(directory, &options, jobs)?;
    if let Some(reason) = &outcome.end_reason {
        info!(log, "the WAL ends"; "at" => %outcome.range.1, "behind" => reason);
    }
    let findings = outcome.findings;
    let (equal, different) = findings.totals();
    let counts = findings.counts.iter();
    Ok(Report {
        version: version.major(),
        minor: args.minor,
        hint_bits_logged: options.rules.hint_bits_logged,
        reseeded: args.reseed,
        start: outcome.range.0.to_string(),
        end: outcome.range.1.to_string(),
        records: outcome.records,
        seconds: begin.elapsed().as_secs_f64(),
        kinds: counts
            .map(|(kind, counts)| Kind::new(kind, counts))
            .collect(),
        equal,
        different,
        refused: findings.counts.values().map(|counts| counts.refused).sum(),
        maps_with_other_bits: findings.maps_with_other_bits,
        pages_dropped: findings.pages_dropped,
        differences: findings.differences.iter().map(line).collect(),
        notes: findings.notes.iter().map(line).collect(),
    })
}

/// Reads a report that an earlier run printed as JSON.
fn load(path: &Path) -> Result<Report> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("{} is neither a directory nor a report", path.display()))?;
    let reports: Vec<Report> = serde_json::from_str(&text)
        .with_context(|| format!("{} is no report of walverify --json", path.display()))?;
    match <[Report; 1]>::try_from(reports) {
        Ok([report]) => Ok(report),
        Err(several) => bail!(
            "{} holds {} reports, not one",
            path.display(),
            several.len()
        ),
    }
}

//! Where the WAL is that the arguments name: which directory, from where to where (`main` and
//! `identify_target_directory`, bin/pg_waldump/pg_waldump.c).

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};
use walrecord::{Lsn, PgTimelineId, PgVersion, SegmentId};

use super::args::Waldump;
use crate::segment_file::{SegmentFacts, is_segment_name};

/// WAL in segment files.
#[derive(Debug)]
pub(super) struct Located {
    pub(super) directory: PathBuf,
    pub(super) timeline: PgTimelineId,
    pub(super) version: PgVersion,
    pub(super) system_identifier: u64,
    /// Bytes.
    pub(super) segment_size: u32,
    pub(super) start: Lsn,
    pub(super) end: Option<Lsn>,
}

/// Finds the WAL that the arguments name.
pub(super) fn locate(args: &Waldump) -> Result<Located> {
    if let Some(path) = &args.path {
        fs::read_dir(path).with_context(|| format!("opening directory {}", path.display()))?;
    }
    match &args.startseg {
        Some(first) => locate_segments(args, first),
        None => locate_directory(args),
    }
}

/// By segment files: the first, and the last if it is given.
fn locate_segments(args: &Waldump, first: &Path) -> Result<Located> {
    let name = file_name(first)?;
    let parent = first.parent().filter(|parent| parent != &Path::new(""));
    let (directory, facts) = find(args.path.as_deref().or(parent), |directory| {
        facts_if_there(&directory.join(&name))
    })?
    .ok_or_else(|| anyhow!("there is no WAL file {name}"))?;
    let size = facts.segment_size;
    let first = SegmentId::parse(&name, size)?;
    let last = match &args.endseg {
        Some(last) => {
            let name = file_name(last)?;
            let path = directory.join(&name);
            File::open(&path).with_context(|| format!("opening {}", path.display()))?;
            SegmentId::parse(&name, size)?
        }
        None => first,
    };
    ensure!(
        last.number >= first.number,
        "the last segment, {}, is before the first, {}",
        last.file_name(size),
        first.file_name(size)
    );
    let (first_start, first_end) = span(first, size)?;
    let (last_start, last_end) = span(last, size)?;
    let start = args.start.unwrap_or(first_start);
    ensure!(
        (first_start..first_end).contains(&start),
        "start {start} is not inside segment {}",
        first.file_name(size)
    );
    let end = args.end.unwrap_or(last_end);
    ensure!(
        (last_start..=last_end).contains(&end),
        "end {end} is not inside segment {}",
        last.file_name(size)
    );
    Ok(Located {
        directory,
        timeline: last.timeline,
        version: facts.version,
        system_identifier: facts.system_identifier,
        segment_size: size,
        start,
        end: Some(end),
    })
}

/// By a directory and a start in its WAL.
fn locate_directory(args: &Waldump) -> Result<Located> {
    let (directory, facts) =
        find(args.path.as_deref(), any_facts)?.context("there is no WAL file")?;
    let start = args
        .start
        .context("it is not said where to start: give a segment file or --start")?;
    let timeline = args.timeline.unwrap_or(1);
    let segment = SegmentId::of(timeline, start, facts.segment_size);
    let path = directory.join(segment.file_name(facts.segment_size));
    // The version may have changed between segments. A missing one shows when it is read.
    let facts = facts_if_there(&path)?.unwrap_or(facts);
    Ok(Located {
        directory,
        timeline,
        version: facts.version,
        system_identifier: facts.system_identifier,
        segment_size: facts.segment_size,
        start,
        end: args.end,
    })
}

/// The first directory in which `look` finds something: the given one and its `pg_wal`, else those
/// that `pg_waldump` looks in by itself.
fn find(
    given: Option<&Path>,
    look: impl Fn(&Path) -> Result<Option<SegmentFacts>>,
) -> Result<Option<(PathBuf, SegmentFacts)>> {
    const PG_WAL: &str = "pg_wal";
    let candidates = match given {
        Some(given) => vec![given.to_owned(), given.join(PG_WAL)],
        None => {
            let data = std::env::var_os("PGDATA").map(|data| Path::new(&data).join(PG_WAL));
            let here = [PathBuf::from("."), PathBuf::from(PG_WAL)];
            here.into_iter().chain(data).collect()
        }
    };
    for candidate in candidates {
        if let Some(facts) = look(&candidate)? {
            return Ok(Some((candidate, facts)));
        }
    }
    Ok(None)
}

/// What any segment file of a directory says; none if there is no such file.
fn any_facts(directory: &Path) -> Result<Option<SegmentFacts>> {
    let Ok(entries) = fs::read_dir(directory) else {
        return Ok(None);
    };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut names: Vec<String> = names.filter(|name| is_segment_name(name)).collect();
    names.sort_unstable();
    let mut refused = None;
    for name in names {
        // A file that is ready for later use may hold zeros.
        match facts_if_there(&directory.join(name)) {
            Ok(Some(facts)) => return Ok(Some(facts)),
            Ok(None) => {}
            Err(error) => refused = refused.or(Some(error)),
        }
    }
    refused.map_or(Ok(None), Err)
}

/// What the segment file at `path` says; none if there is no such file.
fn facts_if_there(path: &Path) -> Result<Option<SegmentFacts>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        file => file.with_context(|| format!("opening {}", path.display()))?,
    };
    let facts = SegmentFacts::read(file).with_context(|| format!("WAL file {}", path.display()))?;
    Ok(Some(facts))
}

/// Where a segment starts and ends.
fn span(segment: SegmentId, size: u32) -> Result<(Lsn, Lsn)> {
    let start = segment.start(size);
    let end = start.and_then(|start| start.checked_add(u64::from(size)));
    match (start, end) {
        (Some(start), Some(end)) => Ok((start, end)),
        _ => bail!("no WAL can be in segment {}", segment.file_name(size)),
    }
}

fn file_name(path: &Path) -> Result<String> {
    let name = path.file_name().and_then(OsStr::to_str);
    let name = name.ok_or_else(|| io::Error::from(ErrorKind::InvalidFilename));
    Ok(name
        .with_context(|| format!("{} names no WAL file", path.display()))?
        .to_owned())
}

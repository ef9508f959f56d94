//! WAL segment files in a directory (an archive, or `pg_wal`), as one stretch of WAL.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use pagecache::Timeline;
use walrecord::{
    DecoderOptions, Lsn, PgTimelineId, PgVersion, Rmgr, RmgrId, SegmentId, StreamDecoder, WalError,
};

/// Bytes read and appended at a time.
const CHUNK: usize = 1 << 20;

/// XLOG/BACKUP_END (catalog/pg_control.h).
const BACKUP_END: u8 = 0x50;

/// Segment files of one Postgres timeline, from a position on.
pub(super) struct WalFiles {
    dir: PathBuf,
    timeline: PgTimelineId,
    segment_size: u32,
}

/// What a look through the files found.
pub(super) struct Found {
    /// End of the last good record.
    pub(super) end: Lsn,
    /// End of the first record.
    pub(super) first_end: Option<Lsn>,
    /// End of the record that ends the backup which began at the start.
    pub(super) backup_end: Option<Lsn>,
    /// What stopped it: damage, or nothing but the end of the files.
    pub(super) stopped_by: Option<WalError>,
}

impl WalFiles {
    pub(super) fn new(dir: &Path, timeline: PgTimelineId, segment_size: u32) -> WalFiles {
        WalFiles {
            dir: dir.to_owned(),
            timeline,
            segment_size,
        }
    }

    fn open(&self, lsn: Lsn) -> Result<Option<File>> {
        let id = SegmentId {
            timeline: self.timeline,
            number: lsn.segment_number(self.segment_size),
        };
        let path = self.dir.join(id.file_name(self.segment_size));
        match File::open(&path) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("opening {}", path.display())),
        }
    }

    /// Shows the bytes from `start` on, piece by piece, until a file is missing or `show` has enough.
    fn pieces(&self, start: Lsn, mut show: impl FnMut(Lsn, &[u8]) -> Result<bool>) -> Result<()> {
        let mut buffer = vec![0; CHUNK];
        let mut at = start;
        while let Some(file) = self.open(at)? {
            let end = at.segment_start(self.segment_size) + u64::from(self.segment_size);
            while at < end {
                let want = usize::try_from(end - at).unwrap_or(CHUNK).min(CHUNK);
                let offset = u64::from(at.segment_offset(self.segment_size));
                let read = file
                    .read_at(&mut buffer[..want], offset)
                    .with_context(|| format!("reading WAL at {at}"))?;
                if read == 0 || !show(at, &buffer[..read])? {
                    return Ok(());
                }
                at = at + read as u64;
            }
        }
        Ok(())
    }

    /// Decodes everything from `start` on and tells where the good WAL ends.
    pub(super) fn scan(
        &self,
        start: Lsn,
        version: PgVersion,
        system_identifier: u64,
    ) -> Result<Found> {
        let options = DecoderOptions {
            segment_size: Some(self.segment_size),
            system_identifier: Some(system_identifier),
            version: Some(version),
        };
        let mut decoder = StreamDecoder::new(start, options);
        let mut found = Found {
            end: start,
            first_end: None,
            backup_end: None,
            stopped_by: None,
        };
        self.pieces(start, |at, bytes| {
            if let Err(error) = decoder.push(at, bytes) {
                found.stopped_by = Some(error);
                return Ok(false);
            }
            loop {
                match decoder.next_record() {
                    Ok(Some(raw)) => {
                        found.end = raw.end;
                        found.first_end.get_or_insert(raw.end);
                        let record = raw.decode()?;
                        let ends = record.header.rmgr == RmgrId::BuiltIn(Rmgr::Xlog)
                            && record.info() == BACKUP_END
                            && record.main_data == start.get().to_le_bytes();
                        if ends {
                            found.backup_end = Some(raw.end);
                        }
                    }
                    Ok(None) => return Ok(!decoder.ended()),
                    Err(error) => {
                        found.stopped_by = Some(error);
                        return Ok(false);
                    }
                }
            }
        })?;
        Ok(found)
    }

    /// Appends everything from the timeline's end to `end`.
    pub(super) fn append_to(&self, timeline: &Timeline, end: Lsn) -> Result<()> {
        self.pieces(timeline.progress().written, |at, bytes| {
            let want = end.saturating_sub(at).min(bytes.len() as u64);
            timeline.append(at, &bytes[..want as usize])?;
            Ok(at + want < end)
        })?;
        let reached = timeline.progress().written;
        if reached < end {
            bail!(
                "WAL in {} ends at {reached}, before {end}",
                self.dir.display()
            );
        }
        Ok(())
    }
}

//! Writes the WAL of a checkout, and makes the control file that points into it.

use walrecord::rmgr::xlog::CheckPoint;
use walrecord::{Lsn, PgVersion, SegmentId};

use super::Job;
use super::error::CheckoutError;
use super::tree::Tree;
use super::wal::{checkpoint_record, history_file, history_file_name};
use crate::control::CONTROL_FILE_SIZE;

/// Bytes of the parent's WAL copied at a time.
const PIECE: u64 = 1 << 20;

impl Job<'_> {
    /// Writes the segments and the history file of the clone's timeline. Gives the control file.
    pub(super) fn write_ahead_log(
        &self,
        tree: &mut Tree<'_>,
    ) -> Result<Box<[u8; CONTROL_FILE_SIZE]>, CheckoutError> {
        let control = &self.control;
        let parent_history = self
            .source
            .history()
            .map_err(CheckoutError::source("the timeline's history"))?;
        if !parent_history.is_empty() {
            let name = history_file_name(control.pg_timeline);
            tree.write_file(&format!("pg_wal/{name}"), &parent_history)?;
        }
        let history = history_file(&parent_history, control.pg_timeline, control.lsn);
        let name = history_file_name(self.wal.timeline);
        tree.write_file(&format!("pg_wal/{name}"), &history)?;

        let checkpoint = self.checkpoint();
        let record = checkpoint_record(&checkpoint, control.last_start);
        self.segments(&self.wal.frame(control.lsn, &record), tree)?;
        let start = self.checkpoint_start;
        Ok(self
            .imported
            .for_clone(start, &checkpoint, &control.parameters))
    }

    /// The checkpoint of a server that was shut down at X (`CreateCheckPoint`, access/transam/xlog.c):
    /// nothing runs, redo starts at the checkpoint itself, and the timeline is not a new one.
    fn checkpoint(&self) -> CheckPoint {
        CheckPoint {
            redo: self.checkpoint_start,
            this_tli: self.wal.timeline,
            prev_tli: self.wal.timeline,
            wal_level: match self.imported.version {
                PgVersion::V14 | PgVersion::V15 | PgVersion::V16 => 0,
                _ => self.control.parameters.wal_level,
            },
            next_full_xid: self.next_full_xid,
            time: self.options.now,
            oldest_active_xid: 0,
            ..self.control.checkpoint
        }
    }

    /// Writes the segment that holds X, the parent's WAL in front of `tail`, and the next one if `tail`
    /// reaches there. The rest of a segment is zero.
    fn segments(&self, tail: &[u8], tree: &mut Tree<'_>) -> Result<(), CheckoutError> {
        let size = self.wal.segment_size;
        let (mut at, mut left) = (self.control.lsn, tail);
        while !left.is_empty() {
            let id = SegmentId::of(self.wal.timeline, at, size);
            let file = tree.create_file(&format!("pg_wal/{}", id.file_name(size)))?;
            file.set_length(u64::from(size)).map_err(file.failed())?;
            let begin = u64::from(at.segment_offset(size));
            let mut offset = 0;
            while offset < begin {
                let mut piece = vec![0; PIECE.min(begin - offset) as usize];
                let from = Lsn::new(at.segment_start(size).get() + offset);
                self.source
                    .read_wal(from, &mut piece)
                    .map_err(CheckoutError::source(format!("WAL at {from}")))?;
                file.write_at(offset, &piece).map_err(file.failed())?;
                offset += piece.len() as u64;
                tree.wrote(piece.len() as u64);
            }
            let room = u64::from(size) - begin;
            let (here, rest) = left.split_at(left.len().min(room as usize));
            file.write_at(begin, here).map_err(file.failed())?;
            tree.wrote(here.len() as u64);
            at = Lsn::new(at.get() + here.len() as u64);
            left = rest;
        }
        Ok(())
    }
}

//! Records as lines of text: which are wanted, and how they are told.

use anyhow::{Error, Result};
use walrecord::describe::Text;
use walrecord::dump::{BlockStyle, Filter, record_line};
use walrecord::rmgr::BodyError;
use walrecord::{Lsn, RawRecord, Record};

/// Lines under construction.
#[derive(Clone)]
pub(super) struct Lines {
    pub(super) filter: Filter,
    pub(super) style: BlockStyle,
    /// Nothing is told; records are decoded all the same.
    pub(super) quiet: bool,
    pub(super) text: Text,
    /// The first record that could not be described.
    pub(super) undescribed: Option<(Lsn, BodyError)>,
}

impl Lines {
    /// Decodes a record; says whether it is wanted.
    ///
    /// # Errors
    /// If headers and payloads contradict one another.
    #[inline]
    pub(super) fn admits<'a>(&self, raw: &RawRecord<'a>, record: &mut Record<'a>) -> Result<bool> {
        match raw.decode_into(record) {
            Ok(()) => Ok(self.filter.admits(record)),
            Err(error) => {
                let error = Error::from(error);
                Err(error.context(format!("error in WAL record at {}", raw.start)))
            }
        }
    }

    /// Forgets the lines that were not taken.
    pub(super) const fn clear(&mut self) {
        self.text.clear();
        self.undescribed = None;
    }

    /// Appends what is told of a record that is wanted.
    #[inline]
    pub(super) fn add(&mut self, record: &Record<'_>) {
        if self.quiet {
            return;
        }
        if let Err(error) = record_line(record, self.style, &mut self.text) {
            self.undescribed.get_or_insert((record.start, error));
        }
    }
}

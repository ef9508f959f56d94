//! The WAL bytes: from segment files or from standard input, up to where they are wanted.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use anyhow::Result;
use thiserror::Error;
use walrecord::{Lsn, PageHeader, PgTimelineId, SegmentId, WAL_PAGE_SIZE, WalSource};

use super::locate::Located;

/// WAL that should be there and cannot be read.
#[derive(Debug, Error)]
pub(super) enum SourceError {
    #[error("there is no WAL file {}", .0.display())]
    NoFile(PathBuf),
    #[error("reading WAL file {}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("WAL file {} ends at byte {offset} of {segment_size}", path.display())]
    Short {
        path: PathBuf,
        offset: u64,
        segment_size: u32,
    },
    #[error("reading standard input")]
    Stream(#[from] io::Error),
    #[error("a stream cannot be read again from {0}")]
    Backwards(Lsn),
}

/// Segment files of one timeline in a directory.
pub(super) struct Segments {
    directory: PathBuf,
    timeline: PgTimelineId,
    segment_size: u32,
    /// What is not there may come yet.
    follow: bool,
    open: RefCell<Option<(u64, File)>>,
}

impl Segments {
    /// Those that were located. With `follow`, nothing is missing: it may come yet.
    pub(super) fn new(located: &Located, follow: bool) -> Segments {
        Segments {
            directory: located.directory.clone(),
            timeline: located.timeline,
            segment_size: located.segment_size,
            follow,
            open: RefCell::new(None),
        }
    }

    fn path(&self, number: u64) -> PathBuf {
        let timeline = self.timeline;
        let segment = SegmentId { timeline, number };
        self.directory.join(segment.file_name(self.segment_size))
    }

    /// None: it is not there yet.
    fn open(&self, number: u64) -> Result<Option<File>, SourceError> {
        let path = self.path(number);
        match File::open(&path) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == ErrorKind::NotFound && self.follow => Ok(None),
            Err(error) if error.kind() == ErrorKind::NotFound => Err(SourceError::NoFile(path)),
            Err(source) => Err(SourceError::File { path, source }),
        }
    }
}

impl WalSource for Segments {
    type Error = SourceError;

    fn read_at(&self, lsn: Lsn, buf: &mut [u8]) -> Result<usize, SourceError> {
        let number = lsn.segment_number(self.segment_size);
        let offset = lsn - lsn.segment_start(self.segment_size);
        let left = u64::from(self.segment_size) - offset;
        let count = buf.len().min(left as usize);
        let mut open = self.open.borrow_mut();
        let file = match &mut *open {
            Some((at, file)) if *at == number => file,
            other => match self.open(number)? {
                Some(file) => &mut other.insert((number, file)).1,
                None => return Ok(0),
            },
        };
        match file.read_at(&mut buf[..count], offset) {
            Ok(0) if count > 0 && !self.follow => Err(SourceError::Short {
                path: self.path(number),
                offset,
                segment_size: self.segment_size,
            }),
            Ok(got) => Ok(got),
            Err(source) => Err(SourceError::File {
                path: self.path(number),
                source,
            }),
        }
    }
}

/// A stream of consecutive segments. Reads forward only.
pub(super) struct Stream<R> {
    state: RefCell<StreamState<R>>,
}

struct StreamState<R> {
    input: R,
    /// What was read ahead, and is given first.
    page: Vec<u8>,
    /// The position of the next byte.
    at: Lsn,
}

impl<R: Read> Stream<R> {
    /// A stream, and the header of its first page.
    pub(super) fn new(mut input: R) -> Result<(Stream<R>, PageHeader)> {
        let mut page = Vec::new();
        (&mut input)
            .take(WAL_PAGE_SIZE as u64)
            .read_to_end(&mut page)?;
        let header = PageHeader::parse(&page)?;
        let state = StreamState {
            input,
            page,
            at: header.address,
        };
        let state = RefCell::new(state);
        Ok((Stream { state }, header))
    }
}

impl<R: Read> StreamState<R> {
    /// Fills the front of `buf` with the next bytes; zero at the end.
    fn next(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let got = match self.page.is_empty() {
            true => loop {
                match self.input.read(buf) {
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    got => break got?,
                }
            },
            false => {
                let count = buf.len().min(self.page.len());
                buf[..count].copy_from_slice(&self.page[..count]);
                self.page.drain(..count);
                count
            }
        };
        self.at = self.at + got as u64;
        Ok(got)
    }
}

impl<R: Read> WalSource for Stream<R> {
    type Error = SourceError;

    fn read_at(&self, lsn: Lsn, buf: &mut [u8]) -> Result<usize, SourceError> {
        let state = &mut *self.state.borrow_mut();
        if lsn < state.at {
            return Err(SourceError::Backwards(lsn));
        }
        while state.at < lsn {
            let skip = (lsn - state.at).min(buf.len() as u64) as usize;
            if state.next(&mut buf[..skip])? == 0 {
                return Ok(0);
            }
        }
        Ok(state.next(buf)?)
    }
}

/// A source cut off at a position, which remembers that somebody wanted more.
pub(super) struct Until<S> {
    source: S,
    end: Option<Lsn>,
    wanted_more: Cell<bool>,
}

impl<S> Until<S> {
    pub(super) fn new(source: S, end: Option<Lsn>) -> Until<S> {
        Until {
            source,
            end,
            wanted_more: Cell::new(false),
        }
    }

    /// Whether the end keeps the header of a record from being read that starts at `next`, or behind
    /// the header of the page that starts there, or whether it kept bytes back before.
    pub(super) fn is_reached(&self, next: Lsn) -> bool {
        const RECORD_HEADER: u64 = walrecord::RECORD_HEADER_SIZE as u64;
        let needed = (next.page_offset() + RECORD_HEADER).min(WAL_PAGE_SIZE as u64);
        let needed = next.page_start() + needed;
        self.wanted_more.get() || self.end.is_some_and(|end| needed > end)
    }
}

impl<S: WalSource> WalSource for Until<S> {
    type Error = S::Error;

    fn read_at(&self, lsn: Lsn, buf: &mut [u8]) -> Result<usize, S::Error> {
        let left = self.end.map_or(u64::MAX, |end| end.saturating_sub(lsn));
        if left == 0 {
            self.wanted_more.set(true);
            return Ok(0);
        }
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(buf.len());
        self.source.read_at(lsn, &mut buf[..count])
    }
}

//! An in-memory source whose every answer a test can foretell, and the services over it.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use pageservice::walrecord::{
    BlockTag, ForkNumber, Lsn, Oid, Page, RelFileLocator, SlruKind, ZERO_PAGE,
};
use pageservice::{
    ErrorKind, Listen, PageService, PageServiceOptions, PageSource, SourceError, TimelineSource,
};
use slog::Logger;

pub(crate) const TENANT: &str = "0123456789abcdef0123456789abcdef";
pub(crate) const OLDEST: Lsn = Lsn::new(0x100);
/// Below the oldest; a lease holds it.
pub(crate) const LEASED: Lsn = Lsn::new(0x80);
pub(crate) const LAST: Lsn = Lsn::new(0x1000);

pub(crate) const REL: RelFileLocator = RelFileLocator {
    spc: 1663,
    db: 5,
    rel: 16384,
};

/// Blocks of the main fork of [`REL`]. Its visibility map has one block, its other forks are missing.
pub(crate) const BLOCKS: u32 = 100;

/// Block of [`REL`] that cannot be rebuilt.
pub(crate) const CORRUPT: u32 = 66;
/// Block of [`REL`] that comes with an LSN later than was asked for.
pub(crate) const FROM_THE_FUTURE: u32 = 77;
/// Block of [`REL`] that the source forgets to answer.
pub(crate) const LEFT_OUT: u32 = 88;
/// Block of [`REL`] at which the source panics.
pub(crate) const PANIC: u32 = 91;
/// Block of [`REL`] at which the source says that it shuts down.
pub(crate) const SHUTTING_DOWN: u32 = 99;

pub(crate) fn main_block(block: u32) -> BlockTag {
    BlockTag {
        rel: REL,
        fork: ForkNumber::Main,
        block,
    }
}

/// The page of a block at an LSN: plausible, and unlike that of any other block or LSN.
pub(crate) fn page_of(tag: BlockTag, at: Lsn) -> Page {
    let mut page = ZERO_PAGE;
    page[0..4].copy_from_slice(&((at.get() >> 32) as u32).to_le_bytes());
    page[4..8].copy_from_slice(&(at.get() as u32).to_le_bytes());
    page[12..14].copy_from_slice(&24_u16.to_le_bytes());
    page[14..16].copy_from_slice(&8192_u16.to_le_bytes());
    page[16..18].copy_from_slice(&8192_u16.to_le_bytes());
    page[100..104].copy_from_slice(&tag.block.to_le_bytes());
    page[104] = tag.fork as u8;
    page[8191] = tag.block as u8;
    page
}

/// A timeline that is moved by hand.
pub(crate) struct Fake {
    last: Mutex<Lsn>,
    moved: Condvar,
    /// How many tags each call of `pages` had, and the LSN.
    pub(crate) calls: Mutex<Vec<(usize, Lsn)>>,
    /// While held, `pages` waits.
    pub(crate) gate: Mutex<()>,
    forks: HashMap<(RelFileLocator, ForkNumber), u32>,
}

impl Fake {
    pub(crate) fn new() -> Arc<Fake> {
        let forks = [
            ((REL, ForkNumber::Main), BLOCKS),
            ((REL, ForkNumber::Vm), 1),
        ];
        Arc::new(Fake {
            last: Mutex::new(LAST),
            moved: Condvar::new(),
            calls: Mutex::default(),
            gate: Mutex::default(),
            forks: forks.into(),
        })
    }

    pub(crate) fn advance(&self, to: Lsn) {
        *self.last.lock().unwrap() = to;
        self.moved.notify_all();
    }

    fn page(&self, at: Lsn, tag: BlockTag) -> Result<Page, SourceError> {
        let error = |kind, text: &str| Err(SourceError::new(kind, format!("{tag}: {text}")));
        let Some(&blocks) = self.forks.get(&(tag.rel, tag.fork)) else {
            return error(ErrorKind::NotFound, "no such fork");
        };
        match tag.block {
            block if block >= blocks => error(ErrorKind::PastEnd, "past the end"),
            PANIC => panic!("a bug in a source, made for a test"),
            CORRUPT => error(ErrorKind::Corrupt, "the layer is damaged"),
            SHUTTING_DOWN => error(ErrorKind::ShuttingDown, "going away"),
            FROM_THE_FUTURE => Ok(page_of(tag, at + 8)),
            _ => Ok(page_of(tag, at)),
        }
    }
}

impl TimelineSource for Fake {
    fn last_record_lsn(&self) -> Lsn {
        *self.last.lock().unwrap()
    }

    fn oldest_lsn(&self) -> Lsn {
        OLDEST
    }

    fn is_leased(&self, lsn: Lsn) -> bool {
        lsn == LEASED
    }

    fn wait_for(&self, lsn: Lsn, limit: Duration) -> Result<(), SourceError> {
        let deadline = Instant::now() + limit;
        let mut last = self.last.lock().unwrap();
        while *last < lsn {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(SourceError::new(ErrorKind::Timeout, "not yet"));
            }
            last = self.moved.wait_timeout(last, left).unwrap().0;
        }
        Ok(())
    }

    fn pages(
        &self,
        at: Lsn,
        tags: &[BlockTag],
        out: &mut dyn FnMut(usize, Result<&Page, SourceError>),
    ) {
        self.calls.lock().unwrap().push((tags.len(), at));
        let _gate = self.gate.lock().unwrap();
        for (index, tag) in tags.iter().enumerate() {
            if tag.block != LEFT_OUT {
                match self.page(at, *tag) {
                    Ok(page) => out(index, Ok(&page)),
                    Err(error) => out(index, Err(error)),
                }
            }
        }
    }

    fn fork_blocks(
        &self,
        _at: Lsn,
        rel: RelFileLocator,
        fork: ForkNumber,
    ) -> Result<Option<u32>, SourceError> {
        Ok(self.forks.get(&(rel, fork)).copied())
    }

    fn db_size(&self, _at: Lsn, db: Oid) -> Result<u64, SourceError> {
        match db {
            5 => Ok(u64::from(BLOCKS + 1) * 8192),
            _ => Err(SourceError::new(
                ErrorKind::NotFound,
                format!("no database {db}"),
            )),
        }
    }

    fn slru_segment(
        &self,
        _at: Lsn,
        kind: SlruKind,
        segment: u32,
    ) -> Result<Option<Vec<u8>>, SourceError> {
        Ok(match (kind, segment) {
            (SlruKind::Clog, 0) => Some([[1; 8192], [2; 8192]].concat()),
            // Longer than a segment: a source that errs.
            (SlruKind::Clog, 1) => Some(vec![0; 33 * 8192]),
            _ => None,
        })
    }

    fn describe(&self) -> String {
        "streaming from the fake, caught up".to_owned()
    }
}

/// The only timeline is `main`.
pub(crate) struct Timelines(pub(crate) Arc<Fake>);

impl PageSource for Timelines {
    fn open(&self, tenant: &str, timeline: &str) -> Result<Arc<dyn TimelineSource>, SourceError> {
        if tenant == TENANT && timeline == "main" {
            return Ok(Arc::<Fake>::clone(&self.0));
        }
        let text = format!("there is no timeline {timeline} of tenant {tenant}");
        Err(SourceError::new(ErrorKind::NotFound, text))
    }

    fn lease(&self, tenant: &str, timeline: &str, lsn: Lsn) -> Result<u64, SourceError> {
        self.open(tenant, timeline)?;
        if lsn < OLDEST && lsn != LEASED {
            let text = format!("{lsn} cannot be held");
            return Err(SourceError::new(ErrorKind::NotReadable, text));
        }
        Ok(1_795_356_180_123)
    }
}

pub(crate) fn no_log() -> Logger {
    Logger::root(slog::Discard, slog::o!())
}

pub(crate) fn start(fake: &Arc<Fake>, options: PageServiceOptions) -> PageService {
    let listen = Listen::loopback("127.0.0.1:0".parse().unwrap());
    let source = Arc::new(Timelines(Arc::clone(fake)));
    PageService::start(listen, source, options, &no_log()).unwrap()
}

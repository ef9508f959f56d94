//! Pages in memory, as a base backup has them and redo leaves them. Serves all replays of this benchmark.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use rustc_hash::FxHashMap;
use stockpg::RecoveredDir;
use walrecord::{
    BlockNumber, BlockTag, ForkNumber, MetaEffect, PAGE_SIZE, Page, PageKey, RELSEG_BLOCKS,
    RelFileLocator, SLRU_PAGES_PER_SEGMENT, SlruKind, SlruPage,
};

use super::division::Division;
use super::memory::Memory;

/// Every page that was asked for and belongs to one thread. One that a record meets first is read from the
/// backup, one by one, as the startup process reads it into its buffers.
pub(super) struct Pages {
    base: Base,
    /// Of each area the places of its pages, by number; [`ELSEWHERE`] for those of other threads, [`UNKNOWN`]
    /// for those that nothing is known of.
    places: FxHashMap<Area, Vec<u32>>,
    memory: Memory,
    division: Arc<Division>,
    /// Which thread's these are.
    owner: u32,
}

const UNKNOWN: u32 = u32::MAX;
const ELSEWHERE: u32 = u32::MAX - 1;

/// What pages are numbered in: a fork, or a log. In two words, which are compared and hashed without going
/// through memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Area(u64, u64);

/// Where a fork's number would be, for logs.
const LOG: u32 = u32::MAX;

impl Area {
    /// The area of a page, and the page's number in it.
    #[inline]
    fn of(key: &PageKey) -> (Area, usize) {
        match key {
            PageKey::Block(tag) => Area::of_block(tag),
            PageKey::Slru(page) => (Area::new(0, 0, page.kind as u32, LOG), page.page as usize),
        }
    }

    #[inline]
    fn of_block(tag: &BlockTag) -> (Area, usize) {
        let RelFileLocator { spc, db, rel } = tag.rel;
        (Area::new(spc, db, rel, tag.fork as u32), tag.block as usize)
    }

    #[inline]
    fn new(spc: u32, db: u32, rel: u32, fork: u32) -> Area {
        let two = |high: u32, low: u32| u64::from(high) << 32 | u64::from(low);
        Area(two(spc, db), two(fork, rel))
    }

    #[inline]
    fn fork(rel: RelFileLocator, fork: ForkNumber) -> Area {
        Area::new(rel.spc, rel.db, rel.rel, fork as u32)
    }

    /// A number that differs among neighbours.
    pub(super) fn number(self) -> u32 {
        let [rel, fork] = [self.1 as u32, (self.1 >> 32) as u32];
        rel.wrapping_add(fork)
    }

    /// The page of that number.
    fn page(self, number: usize) -> PageKey {
        let [spc, db, fork, rel] = [self.0 >> 32, self.0, self.1 >> 32, self.1].map(|it| it as u32);
        let number = number as u32;
        match ForkNumber::from_u8(fork as u8) {
            Some(fork) => PageKey::Block(BlockTag {
                rel: RelFileLocator { spc, db, rel },
                fork,
                block: number,
            }),
            None => PageKey::Slru(SlruPage {
                kind: SlruKind::ALL[rel as usize],
                page: number,
            }),
        }
    }
}

/// The files of a backup that were read from.
struct Base {
    dir: Arc<RecoveredDir>,
    files: FxHashMap<PathBuf, File>,
    /// The file that was read last.
    last: Option<((RelFileLocator, ForkNumber, u32), Option<File>)>,
    /// Where forks were cut off: behind that, the backup says nothing any more.
    cut: FxHashMap<(RelFileLocator, ForkNumber), BlockNumber>,
}

impl Pages {
    /// No pages yet, of the thread `owner` of those that divide pages among them that way.
    ///
    /// # Errors
    /// If there are no addresses for their memory.
    pub(super) fn new(
        dir: Arc<RecoveredDir>,
        division: Arc<Division>,
        owner: u32,
    ) -> Result<Pages> {
        Ok(Pages {
            base: Base {
                dir,
                files: FxHashMap::default(),
                last: None,
                cut: FxHashMap::default(),
            },
            places: FxHashMap::default(),
            memory: Memory::new()?,
            division,
            owner,
        })
    }

    /// The page as it is now, all zeros if there is none; nothing if it is another thread's.
    ///
    /// `begins`: the record that asks makes the page anew, so that what the backup has is not read (nor does
    /// the startup process: `XLogReadBufferForRedoExtended` with `RBM_ZERO_AND_LOCK`).
    ///
    /// # Errors
    /// If the backup cannot be read.
    #[inline]
    pub(super) fn get(&mut self, key: &PageKey, begins: bool) -> Result<Option<&mut Page>> {
        let (area, number) = Area::of(key);
        let place = match self.place(area, number) {
            UNKNOWN => self.load(key, begins)?,
            known => known,
        };
        Ok((place != ELSEWHERE).then(|| self.memory.page_mut(place)))
    }

    /// Whether the block is known to be another thread's.
    #[inline]
    pub(super) fn is_elsewhere(&self, tag: &BlockTag) -> bool {
        let (area, number) = Area::of_block(tag);
        self.place(area, number) == ELSEWHERE
    }

    #[inline]
    fn place(&self, area: Area, number: usize) -> u32 {
        let places = self.places.get(&area);
        let known = places.and_then(|it| it.get(number));
        known.copied().unwrap_or(UNKNOWN)
    }

    #[cold]
    fn load(&mut self, key: &PageKey, begins: bool) -> Result<u32> {
        let (area, number) = Area::of(key);
        let place = match self.division.owns(self.owner, area, number) {
            true => self.memory.take()?,
            false => ELSEWHERE,
        };
        if place != ELSEWHERE && !begins {
            self.base.read(key, self.memory.page_mut(place))?;
        }
        let places = self.places.entry(area).or_default();
        if places.len() <= number {
            places.resize(number + 1, UNKNOWN);
        }
        places[number] = place;
        Ok(place)
    }

    /// Forgets the pages that a change of relations takes away.
    ///
    /// # Errors
    /// If databases are copied or removed, which no workload of this benchmark does.
    pub(super) fn change(&mut self, change: &MetaEffect<'_>) -> Result<()> {
        match *change {
            MetaEffect::RelationTruncate { rel, fork, blocks } => {
                let cut = self.base.cut.entry((rel, fork)).or_insert(blocks);
                *cut = blocks.min(*cut);
                if let Some(places) = self.places.get_mut(&Area::fork(rel, fork)) {
                    places.truncate(blocks as usize);
                }
            }
            MetaEffect::RelationDrop { rel } => {
                for fork in ForkNumber::ALL {
                    self.base.cut.insert((rel, fork), 0);
                    self.places.remove(&Area::fork(rel, fork));
                }
            }
            MetaEffect::DatabaseCopy { .. } | MetaEffect::DatabaseDrop { .. } => {
                anyhow::bail!("{change:?} is not for this benchmark")
            }
            _ => {}
        }
        Ok(())
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.iter().count()
    }

    /// All of them that are this thread's, in no particular order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (PageKey, &Page)> {
        let places = self.places.iter().flat_map(|(area, places)| {
            let numbered = places.iter().enumerate();
            numbered.map(|(number, place)| (area.page(number), *place))
        });
        places
            .filter(|(_, place)| !matches!(*place, UNKNOWN | ELSEWHERE))
            .map(|(key, place)| (key, self.memory.page(place)))
    }
}

impl Base {
    /// Fills `page`, which is all zeros, if the backup has it.
    fn read(&mut self, key: &PageKey, page: &mut Page) -> Result<()> {
        let (file, offset) = match key {
            PageKey::Block(tag) => {
                let cut = self.cut.get(&(tag.rel, tag.fork));
                if cut.is_some_and(|cut| tag.block >= *cut) {
                    return Ok(());
                }
                let segment = tag.block / RELSEG_BLOCKS;
                let name = (tag.rel, tag.fork, segment);
                if self.last.as_ref().is_none_or(|(last, _)| *last != name) {
                    let file = match self.dir.block_location(*tag) {
                        Ok((path, _)) => Some(self.file(path)?),
                        // A relation that is made later.
                        Err(_) => None,
                    };
                    self.last = Some((name, file));
                }
                let file = self.last.as_ref().and_then(|(_, file)| file.as_ref());
                (file, tag.block % RELSEG_BLOCKS)
            }
            PageKey::Slru(slru) => {
                let name = format!("{:04X}", slru.segment());
                let path = self.dir.path().join(slru.kind.directory()).join(name);
                self.last = None;
                let file = path.exists().then(|| self.file(path)).transpose()?;
                let last = self
                    .last
                    .insert(((RelFileLocator::default(), ForkNumber::Main, 0), file));
                (last.1.as_ref(), slru.page % SLRU_PAGES_PER_SEGMENT)
            }
        };
        let Some(file) = file else { return Ok(()) };
        let read = file.read_at(page, u64::from(offset) * PAGE_SIZE as u64)?;
        anyhow::ensure!(read == 0 || read == PAGE_SIZE, "half a page: {key}");
        Ok(())
    }

    fn file(&mut self, path: PathBuf) -> Result<File> {
        let file = match self.files.get(&path) {
            Some(file) => file.try_clone()?,
            None => {
                let file =
                    File::open(&path).with_context(|| format!("opening {}", path.display()))?;
                let again = file.try_clone()?;
                self.files.insert(path, file);
                again
            }
        };
        Ok(file)
    }
}

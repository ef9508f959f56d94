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

use super::memory::Memory;

/// Every page that was asked for. One that a record meets first is read from the backup, one by one, as
/// the startup process reads it into its buffers.
pub(super) struct Pages {
    base: Base,
    /// Of each area the places of its pages, by number; [`NOWHERE`] for those that are not here.
    places: FxHashMap<Area, Vec<u32>>,
    memory: Memory,
}

const NOWHERE: u32 = u32::MAX;

/// What pages are numbered in.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Area {
    Fork(RelFileLocator, ForkNumber),
    Log(SlruKind),
}

impl Area {
    /// The area of a page, and the page's number in it.
    #[inline]
    fn of(key: &PageKey) -> (Area, usize) {
        match key {
            PageKey::Block(tag) => (Area::Fork(tag.rel, tag.fork), tag.block as usize),
            PageKey::Slru(page) => (Area::Log(page.kind), page.page as usize),
        }
    }

    /// The page of that number.
    fn page(self, number: usize) -> PageKey {
        let number = number as u32;
        match self {
            Area::Fork(rel, fork) => PageKey::Block(BlockTag {
                rel,
                fork,
                block: number,
            }),
            Area::Log(kind) => PageKey::Slru(SlruPage { kind, page: number }),
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
    /// No pages yet.
    ///
    /// # Errors
    /// If there are no addresses for their memory.
    pub(super) fn new(dir: Arc<RecoveredDir>) -> Result<Pages> {
        Ok(Pages {
            base: Base {
                dir,
                files: FxHashMap::default(),
                last: None,
                cut: FxHashMap::default(),
            },
            places: FxHashMap::default(),
            memory: Memory::new()?,
        })
    }

    /// The page as it is now; all zeros if there is none.
    ///
    /// # Errors
    /// If the backup cannot be read.
    /// `begins`: the record that asks makes the page anew, so that what the backup has is not read (nor does
    /// the startup process: `XLogReadBufferForRedoExtended` with `RBM_ZERO_AND_LOCK`).
    #[inline]
    pub(super) fn get(&mut self, key: &PageKey, begins: bool) -> Result<&mut Page> {
        let (area, number) = Area::of(key);
        let known = self.places.get(&area).and_then(|it| it.get(number));
        let place = match known {
            Some(place) if *place != NOWHERE => *place,
            _ => self.load(key, begins)?,
        };
        Ok(self.memory.page_mut(place))
    }

    #[cold]
    fn load(&mut self, key: &PageKey, begins: bool) -> Result<u32> {
        let place = self.memory.take()?;
        if !begins {
            self.base.read(key, self.memory.page_mut(place))?;
        }
        let (area, number) = Area::of(key);
        let places = self.places.entry(area).or_default();
        if places.len() <= number {
            places.resize(number + 1, NOWHERE);
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
                if let Some(places) = self.places.get_mut(&Area::Fork(rel, fork)) {
                    places.truncate(blocks as usize);
                }
            }
            MetaEffect::RelationDrop { rel } => {
                for fork in ForkNumber::ALL {
                    self.base.cut.insert((rel, fork), 0);
                    self.places.remove(&Area::Fork(rel, fork));
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

    /// All of them, in no particular order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (PageKey, &Page)> {
        let places = self.places.iter().flat_map(|(area, places)| {
            let numbered = places.iter().enumerate();
            numbered.map(|(number, place)| (area.page(number), *place))
        });
        places
            .filter(|(_, place)| *place != NOWHERE)
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

//! Relation files of a checkout: forks in segments of 1 GiB, free space maps of heaps made anew, unlogged
//! relations reset.

use std::collections::BTreeMap;
use std::io;

use walrecord::{
    BlockNumber, ForkNumber, PAGE_SIZE, Page, PgVersion, RELSEG_BLOCKS, RelFileLocator,
};
use walredo::{is_new, set_checksum};

use super::Job;
use super::error::CheckoutError;
use super::fsm::FsmBuilder;
use super::layout::relation_directory;
use super::tree::{OutFile, Tree};

/// Blocks asked for at a time: 8 MiB.
const PIECE: u32 = 1024;

/// Pages written at a time.
const RUN: usize = 32;

/// Blocks of each fork of a relation, by fork number.
type Forks = [Option<BlockNumber>; 4];

impl Job<'_> {
    /// Writes all relations. Gives their number.
    pub(super) fn relations(&self, tree: &mut Tree<'_>) -> Result<u64, CheckoutError> {
        let listed = self
            .source
            .forks()
            .map_err(CheckoutError::source("the list of relations"))?;
        let mut relations: BTreeMap<RelFileLocator, Forks> = BTreeMap::new();
        for (rel, fork, blocks) in listed {
            relations.entry(rel).or_default()[fork as usize] = Some(blocks);
        }
        let mut directory = (0, 0);
        for (rel, forks) in &relations {
            if directory != (rel.spc, rel.db) {
                directory = (rel.spc, rel.db);
                tree.directory(&relation_directory(rel.spc, rel.db, self.imported.version))?;
            }
            self.relation(*rel, forks, tree)?;
        }
        Ok(relations.len() as u64)
    }

    fn relation(
        &self,
        rel: RelFileLocator,
        forks: &Forks,
        tree: &mut Tree<'_>,
    ) -> Result<(), CheckoutError> {
        let blocks = |fork: ForkNumber| forks[fork as usize];
        // Recovery would reset an unlogged relation, but a clone goes through none (`ResetUnloggedRelations`,
        // storage/file/reinit.c): its main fork is its initial one, and it has no others.
        if let Some(count) = blocks(ForkNumber::Init) {
            let mut main = ForkFile::create(self, rel, ForkNumber::Main, tree)?;
            let mut init = ForkFile::create(self, rel, ForkNumber::Init, tree)?;
            self.stream(rel, ForkNumber::Init, count, |block, page| {
                main.put(tree, block, page)?;
                init.put(tree, block, page)
            })?;
            main.flush(tree)?;
            return init.flush(tree);
        }
        let mut kind = Kind::Unknown;
        if let Some(count) = blocks(ForkNumber::Main) {
            let with_map = blocks(ForkNumber::Fsm).is_some();
            kind = self.main_fork(rel, count, with_map, tree)?;
        }
        if let (Some(count), Kind::Other) = (blocks(ForkNumber::Fsm), kind) {
            self.copy(rel, ForkNumber::Fsm, count, tree)?;
        }
        match blocks(ForkNumber::Vm) {
            Some(count) => self.copy(rel, ForkNumber::Vm, count, tree),
            None => Ok(()),
        }
    }

    /// Writes a main fork, and the free space map of a heap if it is to have one.
    fn main_fork(
        &self,
        rel: RelFileLocator,
        count: BlockNumber,
        with_map: bool,
        tree: &mut Tree<'_>,
    ) -> Result<Kind, CheckoutError> {
        let mut main = ForkFile::create(self, rel, ForkNumber::Main, tree)?;
        let mut map = with_map.then(|| HeapMap {
            job: self,
            rel,
            builder: FsmBuilder::default(),
            file: None,
        });
        let mut kind = Kind::Unknown;
        self.stream(rel, ForkNumber::Main, count, |block, page| {
            if kind == Kind::Unknown {
                kind = Kind::of(page);
            }
            if kind == Kind::Other {
                map = None;
            }
            if let Some(map) = &mut map {
                map.add(tree, page)?;
            }
            main.put(tree, block, page)
        })?;
        main.flush(tree)?;
        map.map_or(Ok(()), |map| map.finish(tree))?;
        Ok(kind)
    }

    fn copy(
        &self,
        rel: RelFileLocator,
        fork: ForkNumber,
        count: BlockNumber,
        tree: &mut Tree<'_>,
    ) -> Result<(), CheckoutError> {
        let mut file = ForkFile::create(self, rel, fork, tree)?;
        self.stream(rel, fork, count, |block, page| file.put(tree, block, page))?;
        file.flush(tree)
    }

    /// Hands all blocks of a fork to `put`.
    fn stream(
        &self,
        rel: RelFileLocator,
        fork: ForkNumber,
        count: BlockNumber,
        mut put: impl FnMut(BlockNumber, &Page) -> Result<(), CheckoutError>,
    ) -> Result<(), CheckoutError> {
        let mut first = 0;
        while first < count {
            let piece = PIECE.min(count - first);
            let what = || format!("{rel}.{fork} from block {first} on");
            let mut found = 0;
            let mut failed = None;
            let result = self.source.pages(rel, fork, first, piece, &mut |page| {
                if found < piece {
                    let put = put(first + found, page);
                    put.map_err(|error| {
                        failed = Some(error);
                        io::Error::other("the checkout failed")
                    })?;
                }
                found += 1;
                Ok(())
            });
            if let Some(error) = failed {
                return Err(error);
            }
            result.map_err(CheckoutError::source(what()))?;
            if found != piece {
                return Err(CheckoutError::PageCount {
                    what: what(),
                    expected: piece,
                    found,
                });
            }
            first += piece;
        }
        Ok(())
    }
}

/// What a relation's pages show it to be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// No page was used yet.
    Unknown,
    /// A table: its pages have no special area.
    Heap,
    /// An index or a sequence.
    Other,
}

impl Kind {
    fn of(page: &Page) -> Kind {
        let special = usize::from(u16::from_le_bytes([page[16], page[17]]));
        match is_new(page) {
            true => Kind::Unknown,
            false if special == PAGE_SIZE => Kind::Heap,
            false => Kind::Other,
        }
    }
}

/// The free space map of a heap being written. Without heap pages there is no file.
struct HeapMap<'a> {
    job: &'a Job<'a>,
    rel: RelFileLocator,
    builder: FsmBuilder,
    file: Option<ForkFile>,
}

impl HeapMap<'_> {
    fn add(&mut self, tree: &mut Tree<'_>, heap_page: &Page) -> Result<(), CheckoutError> {
        match self.builder.push(heap_page) {
            Some((block, page)) => self.put(tree, block, page),
            None => Ok(()),
        }
    }

    fn finish(mut self, tree: &mut Tree<'_>) -> Result<(), CheckoutError> {
        for (block, page) in std::mem::take(&mut self.builder).finish() {
            self.put(tree, block, page)?;
        }
        self.file.map_or(Ok(()), |mut file| file.flush(tree))
    }

    fn put(
        &mut self,
        tree: &mut Tree<'_>,
        block: BlockNumber,
        mut page: Page,
    ) -> Result<(), CheckoutError> {
        if self.job.imported.data_checksums {
            set_checksum(&mut page, block);
        }
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(ForkFile::create(self.job, self.rel, ForkNumber::Fsm, tree)?),
        };
        file.put(tree, block, &page)
    }
}

/// The segment files of a fork being written. Pages that follow one another are written together.
struct ForkFile {
    /// Without the number of the segment.
    name: String,
    /// The segment being written.
    open: Option<(u32, OutFile)>,
    /// Segments made so far.
    made: u32,
    /// The block of the first page in `run`.
    run_start: BlockNumber,
    run: Vec<u8>,
}

impl ForkFile {
    /// Makes the first segment, which exists even if it is empty.
    fn create(
        job: &Job<'_>,
        rel: RelFileLocator,
        fork: ForkNumber,
        tree: &mut Tree<'_>,
    ) -> Result<ForkFile, CheckoutError> {
        let name = file_name(rel, fork, job.imported.version);
        let first = tree.create_file(&name)?;
        Ok(ForkFile {
            name,
            open: Some((0, first)),
            made: 1,
            run_start: 0,
            run: Vec::with_capacity(RUN * PAGE_SIZE),
        })
    }

    fn put(
        &mut self,
        tree: &mut Tree<'_>,
        block: BlockNumber,
        page: &Page,
    ) -> Result<(), CheckoutError> {
        let pages = (self.run.len() / PAGE_SIZE) as u32;
        let follows = block == self.run_start + pages && !block.is_multiple_of(RELSEG_BLOCKS);
        if !follows || pages as usize == RUN {
            self.flush(tree)?;
            self.run_start = block;
        }
        self.run.extend_from_slice(page);
        Ok(())
    }

    /// Writes what was put.
    fn flush(&mut self, tree: &mut Tree<'_>) -> Result<(), CheckoutError> {
        if self.run.is_empty() {
            return Ok(());
        }
        let segment = self.run_start / RELSEG_BLOCKS;
        let file = match &self.open {
            Some((open, _)) if *open == segment => &self.open,
            _ => {
                let name = match segment {
                    0 => self.name.clone(),
                    n => format!("{}.{n}", self.name),
                };
                let file = match segment < self.made {
                    true => tree.reopen_file(&name)?,
                    false => tree.create_file(&name)?,
                };
                self.made = self.made.max(segment + 1);
                self.open = Some((segment, file));
                &self.open
            }
        };
        if let Some((_, file)) = file {
            let offset = u64::from(self.run_start % RELSEG_BLOCKS) * PAGE_SIZE as u64;
            file.write_at(offset, &self.run).map_err(file.failed())?;
        }
        tree.wrote(self.run.len() as u64);
        self.run.clear();
        Ok(())
    }
}

/// The path of a fork's first segment (`GetRelationPath`, common/relpath.c).
fn file_name(rel: RelFileLocator, fork: ForkNumber, version: PgVersion) -> String {
    let directory = relation_directory(rel.spc, rel.db, version);
    format!("{directory}/{}{}", rel.rel, fork.suffix())
}

//! Reads the files of a stopped server's data directory: what stock recovery left, or any other directory
//! that is to be compared with it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use walrecord::{
    BlockTag, DEFAULT_TABLESPACE, ForkNumber, GLOBAL_TABLESPACE, Oid, PAGE_SIZE, Page,
    RELSEG_BLOCKS, RelFileLocator, SLRU_PAGES_PER_SEGMENT, SlruKind, SlruPage, ZERO_PAGE,
};

use super::subject::{ForkSize, SlruSegment, StateFile, TruthSubject};
use crate::Scratch;

/// The data directory of a stopped server, catalogued once when it is opened.
#[derive(Debug)]
pub struct RecoveredDir {
    data: PathBuf,
    forks: BTreeMap<(RelFileLocator, ForkNumber), Fork>,
    state: Vec<StateFile>,
    unrecognised: Vec<String>,
    /// The fork read last: pages are asked for in order.
    open: Option<(RelFileLocator, ForkNumber, u32, File)>,
    home: Option<Scratch>,
}

#[derive(Debug, Default)]
struct Fork {
    /// Path without the number of the segment.
    path: PathBuf,
    /// Blocks by segment.
    segments: BTreeMap<u32, u32>,
}

/// What a file in a database's directory is.
#[derive(Debug, PartialEq, Eq)]
enum Kind {
    Relation(Oid, ForkNumber, u32),
    State,
    Ignored,
    Unrecognised,
}

impl RecoveredDir {
    /// Opens any data directory. It must not change while the value lives.
    ///
    /// # Errors
    /// If it cannot be read, or a relation in it is damaged (a file that is no whole number of pages, a
    /// missing segment).
    pub fn open(data: &Path) -> Result<RecoveredDir> {
        let mut dir = RecoveredDir {
            data: data.to_owned(),
            forks: BTreeMap::new(),
            state: Vec::new(),
            unrecognised: Vec::new(),
            open: None,
            home: None,
        };
        dir.catalogue(Path::new("global"), GLOBAL_TABLESPACE, 0)?;
        dir.databases(Path::new("base"), DEFAULT_TABLESPACE)?;
        for (name, path) in children(&data.join("pg_tblspc"))? {
            let oid = name
                .parse()
                .with_context(|| format!("pg_tblspc holds {name:?}"))?;
            for (version, _) in children(&path)? {
                if version.starts_with("PG_") {
                    dir.databases(&Path::new("pg_tblspc").join(&name).join(version), oid)?;
                }
            }
        }
        dir.check_segments()?;
        Ok(dir)
    }

    /// The same for a recovery that goes away with the value.
    pub(super) fn with_home(home: Scratch) -> Result<RecoveredDir> {
        let mut dir = RecoveredDir::open(&home.path().join("data"))?;
        dir.home = Some(home);
        Ok(dir)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.data
    }

    /// Files in the directories of databases whose names mean nothing to us.
    pub fn unrecognised(&self) -> &[String] {
        &self.unrecognised
    }

    /// The file that holds a block, and the offset of the block in it.
    ///
    /// # Errors
    /// If there is no such fork.
    pub fn block_location(&self, tag: BlockTag) -> Result<(PathBuf, u64)> {
        let fork = self
            .forks
            .get(&(tag.rel, tag.fork))
            .with_context(|| format!("{tag}: no such fork"))?;
        let segment = tag.block / RELSEG_BLOCKS;
        let offset = u64::from(tag.block % RELSEG_BLOCKS) * PAGE_SIZE as u64;
        Ok((segment_path(&fork.path, segment), offset))
    }

    fn databases(&mut self, below: &Path, spc: Oid) -> Result<()> {
        for (name, _) in children(&self.data.join(below))? {
            // pgsql_tmp lies here too.
            if let Ok(db) = name.parse() {
                self.catalogue(&below.join(name), spc, db)?;
            }
        }
        Ok(())
    }

    fn catalogue(&mut self, below: &Path, spc: Oid, db: Oid) -> Result<()> {
        for (name, path) in children(&self.data.join(below))? {
            let shown = below.join(&name).to_string_lossy().into_owned();
            match classify(&name) {
                Kind::Ignored => {}
                Kind::Unrecognised => self.unrecognised.push(shown),
                Kind::State => self.state.push(StateFile {
                    path: shown,
                    bytes: fs::read(&path)?,
                }),
                Kind::Relation(rel, number, segment) => {
                    let fork = self
                        .forks
                        .entry((RelFileLocator { spc, db, rel }, number))
                        .or_default();
                    fork.path = self
                        .data
                        .join(below)
                        .join(format!("{rel}{}", number.suffix()));
                    fork.segments.insert(segment, whole_pages(&path)?);
                }
            }
        }
        Ok(())
    }

    /// Every segment but the last must be full (md.c). Behind the last full one an empty one may follow; and
    /// segments left behind a short one are not part of the relation.
    fn check_segments(&self) -> Result<()> {
        for ((rel, fork), found) in &self.forks {
            for (expected, (segment, blocks)) in found.segments.iter().enumerate() {
                let last = expected + 1 == found.segments.len();
                ensure!(
                    *segment as usize == expected,
                    "{rel}.{fork}: segment {expected} is missing"
                );
                ensure!(
                    *blocks <= RELSEG_BLOCKS && (last || *blocks == RELSEG_BLOCKS),
                    "{rel}.{fork}: segment {segment} has {blocks} blocks"
                );
            }
        }
        Ok(())
    }

    fn file_of(&mut self, rel: RelFileLocator, fork: ForkNumber, segment: u32) -> Result<&File> {
        let hit = matches!(&self.open, Some((r, f, s, _)) if (*r, *f, *s) == (rel, fork, segment));
        if !hit {
            let first = BlockTag {
                rel,
                fork,
                block: segment * RELSEG_BLOCKS,
            };
            let (path, _) = self.block_location(first)?;
            let file = File::open(&path).with_context(|| format!("opening {}", path.display()))?;
            self.open = Some((rel, fork, segment, file));
        }
        Ok(&self.open.as_ref().context("a file was just opened")?.3)
    }

    fn slru_path(&self, kind: SlruKind, segment: u32) -> PathBuf {
        self.data
            .join(kind.directory())
            .join(format!("{segment:04X}"))
    }
}

impl TruthSubject for RecoveredDir {
    fn relation_forks(&mut self) -> Result<Vec<ForkSize>> {
        let size = |(&(rel, fork), found): (&(RelFileLocator, ForkNumber), &Fork)| ForkSize {
            rel,
            fork,
            blocks: found.segments.values().sum(),
        };
        Ok(self.forks.iter().map(size).collect())
    }

    fn page(&mut self, tag: BlockTag) -> Result<Page> {
        let mut page = ZERO_PAGE;
        let offset = u64::from(tag.block % RELSEG_BLOCKS) * PAGE_SIZE as u64;
        let file = self.file_of(tag.rel, tag.fork, tag.block / RELSEG_BLOCKS)?;
        file.read_exact_at(&mut page, offset)
            .with_context(|| format!("reading {tag}"))?;
        Ok(page)
    }

    fn pages(&mut self, first: BlockTag, count: u32) -> Result<Vec<Page>> {
        let mut pages = vec![ZERO_PAGE; count as usize];
        let mut done = 0;
        while done < count {
            let block = first.block + done;
            let within = block % RELSEG_BLOCKS;
            let here = (count - done).min(RELSEG_BLOCKS - within);
            let file = self.file_of(first.rel, first.fork, block / RELSEG_BLOCKS)?;
            let part = &mut pages[done as usize..(done + here) as usize];
            file.read_exact_at(
                part.as_flattened_mut(),
                u64::from(within) * PAGE_SIZE as u64,
            )
            .with_context(|| format!("reading {here} pages from {first} + {done}"))?;
            done += here;
        }
        Ok(pages)
    }

    fn slru_segments(&mut self, kind: SlruKind) -> Result<Vec<SlruSegment>> {
        let mut segments = Vec::new();
        for (name, path) in children(&self.data.join(kind.directory()))? {
            let number = u32::from_str_radix(&name, 16)
                .with_context(|| format!("{} holds {name:?}", kind.directory()))?;
            segments.push(SlruSegment {
                number,
                pages: whole_pages(&path)?,
            });
        }
        Ok(segments)
    }

    fn slru_page(&mut self, page: SlruPage) -> Result<Page> {
        let path = self.slru_path(page.kind, page.segment());
        let file = File::open(&path).with_context(|| format!("opening {}", path.display()))?;
        let mut bytes = ZERO_PAGE;
        let offset = u64::from(page.page % SLRU_PAGES_PER_SEGMENT) * PAGE_SIZE as u64;
        file.read_exact_at(&mut bytes, offset)
            .with_context(|| format!("reading {page}"))?;
        Ok(bytes)
    }

    fn state_files(&mut self) -> Result<Vec<StateFile>> {
        Ok(self.state.clone())
    }

    fn twophase_files(&mut self) -> Result<Vec<StateFile>> {
        let files = children(&self.data.join("pg_twophase"))?;
        let read = |(name, path): (String, PathBuf)| -> Result<StateFile> {
            Ok(StateFile {
                path: format!("pg_twophase/{name}"),
                bytes: fs::read(path)?,
            })
        };
        files.into_iter().map(read).collect()
    }
}

/// What a name in the directory of a database, or in `global`, stands for.
fn classify(name: &str) -> Kind {
    match name {
        "PG_VERSION" | "pg_filenode.map" => return Kind::State,
        // The control file is compared by nobody: a recovering server's says where it stands, a
        // checkout's says that it is shut down.
        "pg_control" | "pgsql_tmp" => return Kind::Ignored,
        _ => {}
    }
    // Caches that any backend may write; remains of their writing; relations of sessions.
    let cache = name.starts_with("pg_internal.init") || name == "pg_filenode.map.tmp";
    let temporary = name.strip_prefix('t').is_some_and(|rest| {
        rest.split_once('_')
            .is_some_and(|(backend, rel)| is_number(backend) && rel.starts_with(is_digit))
    });
    if cache || temporary {
        return Kind::Ignored;
    }
    relation_file(name).unwrap_or(Kind::Unrecognised)
}

/// `<relation>[_<fork>][.<segment>]` (relpath.c, md.c).
fn relation_file(name: &str) -> Option<Kind> {
    let (stem, segment) = match name.split_once('.') {
        Some((stem, segment)) if is_number(segment) => (stem, segment.parse().ok()?),
        Some(_) => return None,
        None => (name, 0),
    };
    let (rel, fork) = match stem.split_once('_') {
        Some((rel, fork)) => (
            rel,
            fork.parse().ok().filter(|fork| *fork != ForkNumber::Main)?,
        ),
        None => (stem, ForkNumber::Main),
    };
    is_number(rel).then(|| Some(Kind::Relation(rel.parse().ok()?, fork, segment)))?
}

fn is_digit(c: char) -> bool {
    c.is_ascii_digit()
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.chars().all(is_digit)
}

fn segment_path(path: &Path, segment: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    if segment > 0 {
        name.push(format!(".{segment}"));
    }
    PathBuf::from(name)
}

fn whole_pages(path: &Path) -> Result<u32> {
    let length = path.metadata()?.len();
    if length % PAGE_SIZE as u64 != 0 {
        bail!(
            "{} has {length} bytes, no whole number of pages",
            path.display()
        );
    }
    Ok((length / PAGE_SIZE as u64).try_into()?)
}

/// The names and paths of a directory's entries; none if there is no such directory.
fn children(dir: &Path) -> Result<Vec<(String, PathBuf)>> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.with_context(|| format!("reading {}", dir.display()))?,
    };
    let child = |entry: std::io::Result<fs::DirEntry>| -> Result<(String, PathBuf)> {
        let entry = entry?;
        Ok((
            entry.file_name().to_string_lossy().into_owned(),
            entry.path(),
        ))
    };
    entries.map(child).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_say_what_they_are() {
        for (name, kind) in [
            ("1259", Kind::Relation(1259, ForkNumber::Main, 0)),
            ("1259_vm", Kind::Relation(1259, ForkNumber::Vm, 0)),
            ("16384_fsm.2", Kind::Relation(16384, ForkNumber::Fsm, 2)),
            ("16384.1", Kind::Relation(16384, ForkNumber::Main, 1)),
            ("16384_init", Kind::Relation(16384, ForkNumber::Init, 0)),
            ("pg_filenode.map", Kind::State),
            ("pg_internal.init.1234", Kind::Ignored),
            ("t3_16384", Kind::Ignored),
            ("t3_16384_fsm.1", Kind::Ignored),
            ("16384_main", Kind::Unrecognised),
            ("16384.x", Kind::Unrecognised),
            ("core", Kind::Unrecognised),
            ("99999999999", Kind::Unrecognised),
        ] {
            assert_eq!(classify(name), kind, "{name}");
        }
    }
}

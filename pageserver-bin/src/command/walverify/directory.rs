//! A directory of WAL segment files as one stretch of WAL: which files belong to it, in what order.

use std::cell::RefCell;
use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Error, Result, bail};
use walrecord::{
    LONG_PAGE_HEADER_SIZE, Lsn, PageContext, PageHeader, PgVersion, SegmentId, WAL_PAGE_SIZE,
    WalSource,
};

use crate::segment_file::{SegmentFacts, is_segment_name};

/// The segments of a directory, of the newest timeline and what it goes back to.
pub(super) struct Directory {
    path: PathBuf,
    segment_size: u32,
    version: PgVersion,
    /// Without a gap, timelines never falling.
    segments: Vec<SegmentId>,
    /// Files that are of other timelines.
    passed_over: usize,
    /// The file read last.
    open: RefCell<Option<(SegmentId, File)>>,
}

impl Directory {
    /// Looks which segments there are.
    ///
    /// # Errors
    /// If there are none, if one is missing between two others, or the first cannot be read.
    pub(super) fn open(path: &Path) -> Result<Directory> {
        let names = segment_names(path)?;
        let Some(first) = names.first() else {
            bail!(
                "{} holds no WAL segment (a file with a name of 24 hexadecimal digits)",
                path.display()
            );
        };
        let file = path.join(first);
        let facts = File::open(&file)
            .map_err(Error::from)
            .and_then(SegmentFacts::read)
            .with_context(|| format!("{} is no WAL of PostgreSQL 14 to 18", file.display()))?;
        let segment_size = facts.segment_size;
        let found = names
            .iter()
            .map(|name| SegmentId::parse(name, segment_size))
            .collect::<Result<Vec<_>, _>>()
            .with_context(|| format!("in {}", path.display()))?;
        let total = found.len();
        let segments = one_history(found);
        if let Some(pair) = segments
            .windows(2)
            .find(|it| it[1].number != it[0].number + 1)
        {
            bail!(
                "{}: WAL is missing between {} and {}",
                path.display(),
                pair[0].file_name(segment_size),
                pair[1].file_name(segment_size)
            );
        }
        Ok(Directory {
            path: path.to_owned(),
            segment_size,
            version: facts.version,
            passed_over: total - segments.len(),
            segments,
            open: RefCell::new(None),
        })
    }

    pub(super) const fn version(&self) -> PgVersion {
        self.version
    }

    pub(super) const fn segment_size(&self) -> u32 {
        self.segment_size
    }

    /// Segment files that do not belong to the newest timeline's past.
    pub(super) const fn passed_over(&self) -> usize {
        self.passed_over
    }

    /// Where the first segment begins.
    pub(super) fn start(&self) -> Lsn {
        let start = self.segments[0].start(self.segment_size);
        start.unwrap_or(Lsn::INVALID)
    }

    /// Bytes of all segments.
    pub(super) const fn bytes(&self) -> u64 {
        self.segments.len() as u64 * self.segment_size as u64
    }

    /// Whether there is WAL behind `end`: a page that belongs where it stands. (A recycled segment holds
    /// pages of long ago.) Gives the first.
    pub(super) fn continues_behind(&self, end: Lsn) -> Result<Option<Lsn>> {
        let context = PageContext {
            version: Some(self.version),
            segment_size: Some(self.segment_size),
            ..PageContext::default()
        };
        let mut page = end.page_start();
        while let Some(next) = page.checked_add(WAL_PAGE_SIZE as u64) {
            page = next;
            let mut header = [0; LONG_PAGE_HEADER_SIZE];
            if self.read_at(page, &mut header)? < header.len() {
                break;
            }
            if PageHeader::parse_at(page, &header, &context).is_ok() {
                return Ok(Some(page));
            }
        }
        Ok(None)
    }

    fn segment(&self, lsn: Lsn) -> Option<SegmentId> {
        let number = lsn.segment_number(self.segment_size);
        let index = number.checked_sub(self.segments[0].number)?;
        self.segments.get(usize::try_from(index).ok()?).copied()
    }
}

impl WalSource for Directory {
    type Error = std::io::Error;

    fn read_at(&self, lsn: Lsn, buf: &mut [u8]) -> std::io::Result<usize> {
        let Some(segment) = self.segment(lsn) else {
            return Ok(0);
        };
        let mut open = self.open.borrow_mut();
        let file = match &mut *open {
            Some((of, file)) if *of == segment => file,
            other => {
                let name = segment.file_name(self.segment_size);
                &mut other.insert((segment, File::open(self.path.join(name))?)).1
            }
        };
        loop {
            match file.read_at(buf, u64::from(lsn.segment_offset(self.segment_size))) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                done => return done,
            }
        }
    }
}

/// The names of all segment files, in order.
fn segment_names(path: &Path) -> Result<Vec<String>> {
    let reading = || format!("reading the directory {}", path.display());
    let mut names = Vec::new();
    for entry in std::fs::read_dir(path).with_context(reading)? {
        let name = entry.with_context(reading)?.file_name();
        names.extend(name.into_string().ok().filter(|name| is_segment_name(name)));
    }
    names.sort_unstable();
    Ok(names)
}

/// The segments of the newest timeline, and before its first one those of the timelines that it can come
/// from. The first segment of a timeline begins with a copy of the WAL before.
fn one_history(mut found: Vec<SegmentId>) -> Vec<SegmentId> {
    // The newest timeline first, and of each the last segment first.
    found.sort_by_key(|it| (it.timeline, it.number));
    let mut segments: Vec<SegmentId> = Vec::new();
    for segment in found.into_iter().rev() {
        if segments
            .last()
            .is_none_or(|last| segment.number < last.number)
        {
            segments.push(segment);
        }
    }
    segments.reverse();
    segments
}

#[cfg(test)]
mod tests {
    use super::*;
    use walrecord::PgTimelineId;

    fn ids(list: &[(PgTimelineId, u64)]) -> Vec<SegmentId> {
        list.iter()
            .map(|(timeline, number)| SegmentId {
                timeline: *timeline,
                number: *number,
            })
            .collect()
    }

    #[test]
    fn a_newer_timeline_replaces_the_older_one_from_its_first_segment_on() {
        let found = ids(&[(1, 3), (1, 4), (1, 5), (1, 6), (1, 7), (2, 5), (2, 6)]);
        assert_eq!(one_history(found), ids(&[(1, 3), (1, 4), (2, 5), (2, 6)]));
        let found = ids(&[(1, 3), (2, 4), (2, 5), (3, 4)]);
        assert_eq!(one_history(found), ids(&[(1, 3), (3, 4)]));
    }

    #[test]
    fn a_directory_without_wal_or_with_a_gap_is_refused() {
        let dir = std::env::temp_dir().join(format!("walverify-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let error = Directory::open(&dir)
            .err()
            .expect("nothing there")
            .to_string();
        assert!(error.contains("no WAL segment"), "{error}");
        let mut page = vec![0; WAL_PAGE_SIZE];
        page[..2].copy_from_slice(&PgVersion::V17.wal_magic().to_le_bytes());
        page[2] = 2;
        page[4] = 1;
        page[8..16].copy_from_slice(&(1u64 << 20).to_le_bytes());
        page[32..36].copy_from_slice(&(1u32 << 20).to_le_bytes());
        page[36..40].copy_from_slice(&(WAL_PAGE_SIZE as u32).to_le_bytes());
        std::fs::write(dir.join("000000010000000000000001"), &page).unwrap();
        assert!(Directory::open(&dir).is_ok());
        std::fs::write(dir.join("000000010000000000000003"), &page).unwrap();
        let error = Directory::open(&dir).err().expect("a gap").to_string();
        assert!(error.contains("missing between"), "{error}");
        std::fs::remove_dir_all(&dir).unwrap();
    }
}

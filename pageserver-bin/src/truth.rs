//! A snapshot of the store, as the oracle looks at it.

use anyhow::{Context, Result};
use datadir::tablespace_directory;
use pagecache::Snapshot;
use stockpg::{ForkSize, SlruSegment, StateFile, TruthSubject};
use walrecord::{
    BlockTag, DEFAULT_TABLESPACE, ForkNumber, GLOBAL_TABLESPACE, Oid, Page, PgVersion, Rmgr,
    SlruKind, SlruPage,
};

/// A snapshot that can be compared with stock recovery, with counts of what its reads took.
pub struct StoreSubject {
    snapshot: Snapshot,
    version: PgVersion,
    /// Pages read.
    pub pages: u64,
    /// Pages that took at least one record.
    pub rebuilt: u64,
    /// Records applied.
    pub records: u64,
    /// Records applied by resource manager, indexed by its number.
    pub by_rmgr: [u64; Rmgr::ALL.len()],
    /// Microseconds that each page took, up to the first million.
    pub micros: Vec<u32>,
}

const MAX_TIMES: usize = 1_000_000;

impl StoreSubject {
    /// A subject over this snapshot.
    pub fn new(snapshot: Snapshot) -> StoreSubject {
        let version = snapshot.rules().version;
        StoreSubject {
            snapshot,
            version,
            pages: 0,
            rebuilt: 0,
            records: 0,
            by_rmgr: [0; Rmgr::ALL.len()],
            micros: Vec::new(),
        }
    }

    /// Resource managers whose records were applied, with how many: `Heap 1200, Btree 300`.
    pub fn rmgr_counts(&self) -> String {
        let mut counts: Vec<_> = Rmgr::ALL
            .into_iter()
            .map(|rmgr| (self.by_rmgr[rmgr as usize], rmgr.name()))
            .filter(|(count, _)| *count > 0)
            .collect();
        counts.sort_unstable_by(|a, b| b.cmp(a));
        let counts: Vec<String> = counts
            .into_iter()
            .map(|(count, name)| format!("{name} {count}"))
            .collect();
        counts.join(", ")
    }

    fn read(&mut self, key: walrecord::PageKey) -> Result<Page> {
        let begin = std::time::Instant::now();
        let (page, stats) = self.snapshot.page(key)?;
        if self.micros.len() < MAX_TIMES {
            self.micros.push(begin.elapsed().as_micros() as u32);
        }
        self.pages += 1;
        self.rebuilt += u64::from(stats.records > 0);
        self.records += u64::from(stats.records);
        for (total, count) in self.by_rmgr.iter_mut().zip(stats.by_rmgr) {
            *total += u64::from(count);
        }
        Ok(page)
    }

    /// The directory of a database, below the data directory.
    fn directory(&self, spc: Oid, db: Oid) -> String {
        match spc {
            GLOBAL_TABLESPACE => "global".to_owned(),
            DEFAULT_TABLESPACE => format!("base/{db}"),
            _ => format!(
                "pg_tblspc/{spc}/{}/{db}",
                tablespace_directory(self.version)
            ),
        }
    }
}

impl TruthSubject for StoreSubject {
    fn relation_forks(&mut self) -> Result<Vec<ForkSize>> {
        let forks = self.snapshot.forks()?;
        Ok(forks
            .into_iter()
            .filter(|fork| fork.fork != ForkNumber::Fsm)
            .map(|fork| ForkSize {
                rel: fork.rel,
                fork: fork.fork,
                blocks: fork.blocks,
            })
            .collect())
    }

    fn page(&mut self, tag: BlockTag) -> Result<Page> {
        self.read(tag.into()).with_context(|| tag.to_string())
    }

    fn slru_segments(&mut self, kind: SlruKind) -> Result<Vec<SlruSegment>> {
        let segments = self.snapshot.slru_segments(kind)?;
        Ok(segments
            .into_iter()
            .map(|(number, pages)| SlruSegment { number, pages })
            .collect())
    }

    fn slru_page(&mut self, page: SlruPage) -> Result<Page> {
        self.read(page.into()).with_context(|| page.to_string())
    }

    fn state_files(&mut self) -> Result<Vec<StateFile>> {
        let mut files = Vec::new();
        let mut maps = vec![(GLOBAL_TABLESPACE, 0)];
        maps.extend(self.snapshot.database_directories());
        for (spc, db) in maps {
            let directory = self.directory(spc, db);
            if let Some(bytes) = self.snapshot.relation_map(spc, db)? {
                files.push(StateFile {
                    path: format!("{directory}/pg_filenode.map"),
                    bytes,
                });
            }
            if db != 0 {
                files.push(StateFile {
                    path: format!("{directory}/PG_VERSION"),
                    bytes: format!("{}\n", self.version).into_bytes(),
                });
            }
        }
        Ok(files)
    }

    fn twophase_files(&mut self) -> Result<Vec<StateFile>> {
        let prepared = self.snapshot.two_phase()?;
        let wide = self.version >= PgVersion::V17;
        let epoch = self.snapshot.control()?.next_full_xid >> 32;
        Ok(prepared
            .into_iter()
            .map(|(xid, state)| StateFile {
                path: if wide {
                    format!("pg_twophase/{:016X}", epoch << 32 | u64::from(xid))
                } else {
                    format!("pg_twophase/{xid:08X}")
                },
                bytes: datadir::two_phase_file(&state),
            })
            .collect())
    }
}

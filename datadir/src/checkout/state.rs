//! What a checkout holds besides relations and WAL: directories, version files, relation maps, status
//! logs, prepared transactions, replication origins, configuration.

use std::path::Path;

use walrecord::{GLOBAL_TABLESPACE, Lsn, PAGE_SIZE, SLRU_PAGES_PER_SEGMENT, SlruKind, SlruPage};

use super::Job;
use super::config::{CloneSettings, config_files};
use super::error::CheckoutError;
use super::layout::{directories, relation_directory, two_phase_name, version_file};
use super::tree::Tree;
use crate::small::{origins_file, two_phase_file};

impl Job<'_> {
    /// Makes the directories that every data directory has, and its version file.
    pub(super) fn skeleton(&self, tree: &mut Tree<'_>) -> Result<(), CheckoutError> {
        for name in directories(self.imported.version) {
            tree.directory(name)?;
        }
        tree.write_file("PG_VERSION", version_file(self.imported.version).as_bytes())
    }

    /// Makes the directories of databases, with version files and relation maps.
    pub(super) fn databases(&self, tree: &mut Tree<'_>) -> Result<(), CheckoutError> {
        let version = self.imported.version;
        let directories = self
            .source
            .database_directories()
            .map_err(CheckoutError::source("the list of databases"))?;
        self.relation_map(GLOBAL_TABLESPACE, 0, tree)?;
        for (spc, db) in directories {
            let name = relation_directory(spc, db, version);
            tree.directory(&name)?;
            tree.write_file(
                &format!("{name}/PG_VERSION"),
                version_file(version).as_bytes(),
            )?;
            self.relation_map(spc, db, tree)?;
        }
        Ok(())
    }

    fn relation_map(&self, spc: u32, db: u32, tree: &mut Tree<'_>) -> Result<(), CheckoutError> {
        let map = self
            .source
            .relation_map(spc, db)
            .map_err(CheckoutError::source(format!(
                "the relation map of {spc}/{db}"
            )))?;
        let name = relation_directory(spc, db, self.imported.version);
        map.map_or(Ok(()), |map| {
            tree.write_file(&format!("{name}/pg_filenode.map"), &map)
        })
    }

    /// Writes the segments of the status logs, whole: the server extends them by pages that it expects to
    /// find room for in the segment.
    pub(super) fn status_logs(&self, tree: &mut Tree<'_>) -> Result<(), CheckoutError> {
        for kind in SlruKind::ALL {
            let directory = kind.directory();
            let segments = self
                .source
                .slru_segments(kind)
                .map_err(CheckoutError::source(directory))?;
            for (segment, pages) in segments {
                let mut content = vec![0; SLRU_PAGES_PER_SEGMENT as usize * PAGE_SIZE];
                let present = pages.min(SLRU_PAGES_PER_SEGMENT);
                for (index, place) in content
                    .chunks_exact_mut(PAGE_SIZE)
                    .take(present as usize)
                    .enumerate()
                {
                    let page = SlruPage {
                        kind,
                        page: segment * SLRU_PAGES_PER_SEGMENT + index as u32,
                    };
                    let found = self.source.slru_page(page);
                    place.copy_from_slice(&found.map_err(CheckoutError::source(page.to_string()))?);
                }
                tree.write_file(&format!("{directory}/{segment:04X}"), &content)?;
            }
        }
        Ok(())
    }

    /// Writes prepared transactions and replication origins. Gives the number of the former.
    pub(super) fn transactions(&self, tree: &mut Tree<'_>) -> Result<u64, CheckoutError> {
        for (xid, state) in &self.prepared {
            let name = two_phase_name(*xid, self.next_full_xid, self.imported.version);
            tree.write_file(&name, &two_phase_file(state))?;
        }
        let origins = self.origins()?;
        if !origins.is_empty() {
            let name = "pg_logical/replorigin_checkpoint";
            tree.write_file(name, &origins_file(&origins))?;
        }
        Ok(self.prepared.len() as u64)
    }

    fn origins(&self) -> Result<Vec<(u16, Lsn)>, CheckoutError> {
        let origins = self.source.origins();
        origins.map_err(CheckoutError::source("replication origins"))
    }

    /// Writes the configuration files for a server in `dir`.
    pub(super) fn configuration(
        &self,
        dir: &Path,
        tree: &mut Tree<'_>,
    ) -> Result<(), CheckoutError> {
        let absolute = std::path::absolute(dir).map_err(CheckoutError::write(dir))?;
        let settings = CloneSettings {
            version: self.imported.version,
            parameters: &self.control.parameters,
            cluster_name: &format!("checkout at {}", self.control.lsn),
            origins: self.origins()?.len(),
            path_length: absolute.as_os_str().len(),
            keep_preload: self.options.keep_preload,
            port: self.options.port,
        };
        for (path, content) in config_files(&self.configuration, &settings) {
            if let Some((directory, _)) = path.rsplit_once('/') {
                tree.directory(directory)?;
            }
            tree.write_file(&path, &content)?;
        }
        Ok(())
    }
}

//! Where the tablespaces of a checkout go: never to the path that they have on the primary.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use walrecord::Oid;

use super::error::CheckoutError;
use super::layout::{INSIDE, tablespace_root};
use super::source::SnapshotSource;
use super::tree::Tree;
use super::{CheckoutOptions, Job};

/// Where a tablespace goes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Into the data directory.
    Inside,
    /// To a directory outside.
    Mapped(PathBuf),
}

/// The places of all tablespaces.
pub(super) fn places(
    source: &dyn SnapshotSource,
    options: &CheckoutOptions,
) -> Result<BTreeMap<Oid, Place>, CheckoutError> {
    let tablespaces = source
        .tablespaces()
        .map_err(CheckoutError::source("the list of tablespaces"))?;
    let mut places: BTreeMap<Oid, Place> = tablespaces
        .iter()
        .map(|(oid, _)| (*oid, Place::Inside))
        .collect();
    for (old, new) in &options.tablespace_mapping {
        let mapped = tablespaces.iter().find(|(_, path)| path == old.as_bytes());
        let (oid, _) = mapped.ok_or_else(|| CheckoutError::UnknownTablespace(old.clone()))?;
        let path = Path::new(new);
        if !path.is_absolute() {
            return Err(CheckoutError::RelativeTablespace {
                oid: *oid,
                path: new.clone(),
            });
        }
        places.insert(*oid, Place::Mapped(path.to_owned()));
    }
    Ok(places)
}

impl Job<'_> {
    /// Makes the tablespaces and the links to them.
    pub(super) fn tablespaces(
        &self,
        places: &BTreeMap<Oid, Place>,
        tree: &mut Tree<'_>,
    ) -> Result<(), CheckoutError> {
        for (oid, place) in places {
            let target = match place {
                Place::Inside => {
                    tree.directory(&format!("{INSIDE}/{oid}"))?;
                    // Relative to the link: the data directory may be moved.
                    PathBuf::from(format!("../{INSIDE}/{oid}"))
                }
                Place::Mapped(path) => {
                    tree.claim(path)?;
                    path.clone()
                }
            };
            tree.link(&format!("pg_tblspc/{oid}"), &target)?;
            tree.directory(&tablespace_root(*oid, self.imported.version))?;
        }
        Ok(())
    }
}

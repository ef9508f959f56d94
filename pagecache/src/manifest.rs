//! STUB
use std::path::{Path, PathBuf};
use walrecord::*;
use crate::storage::Storage;
use crate::layer::LayerId;
use crate::timeline::ImportParams;
#[derive(Clone, Debug)]
pub struct LayerEntry { pub id: LayerId, pub size: u64 }
#[derive(Clone, Debug)]
pub struct Settings { pub data_checksums: bool, pub rules: Vec<(Lsn, RedoRules)> }
#[derive(Clone, Debug)]
pub struct Manifest {
 pub tenant: TenantId, pub timeline: TimelineId, pub name: String, pub system_identifier: u64, pub version: PgVersion, pub segment_size: u32,
 pub pg_timeline: PgTimelineId, pub wal_start: Lsn, pub import_start: Lsn, pub import_stop: Lsn, pub disk_consistent_lsn: Lsn, pub layers: Vec<LayerEntry>, pub next_layer_id: LayerId, pub settings: Settings }
#[derive(Debug, thiserror::Error)]
pub enum ManifestError { #[error("x")] X }
impl Manifest {
 pub fn read(_: &dyn Storage, _: &Path) -> Result<Manifest, ManifestError> { Err(ManifestError::X) }
 pub fn write(&self, _: &dyn Storage, _: &Path) -> Result<(), ManifestError> { Err(ManifestError::X) }
 pub fn remove_strays(&self, _: &dyn Storage, _: &Path) -> Result<(), ManifestError> { Err(ManifestError::X) }
}
pub fn timeline_dirs(_: &dyn Storage) -> Result<Vec<PathBuf>, ManifestError> { Err(ManifestError::X) }
pub fn timeline_dir(_: TenantId, _: TimelineId) -> PathBuf { PathBuf::new() }
pub fn ensure_tenant(_: &dyn Storage, _: TenantId, _: u64) -> Result<(), ManifestError> { Err(ManifestError::X) }
pub fn clone_pg_timeline(_: &dyn Storage, _: TenantId, _: TimelineId, _: Lsn) -> Result<PgTimelineId, ManifestError> { Err(ManifestError::X) }

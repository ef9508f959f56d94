//! Manifests: what a tenant and a timeline consist of, and where the files of a store are.
//!
//! A manifest decides which files exist; what it does not name is a stray. It is replaced as a
//! whole, so that a crash leaves the old one or the new one. `docs/format-manifest.md` has the format.

mod envelope;
mod error;
mod file;
mod inventory;
mod paths;
mod tenant;
#[cfg(test)]
mod tests;
mod text;
mod timeline;

pub use envelope::ManifestFormat;
pub use error::{Contradiction, ManifestDamage, ManifestError};
pub use file::ManifestFile;
pub use inventory::{
    FoundTenant, FoundTimeline, Inventory, list_tenants, list_timelines, take_inventory,
};
pub use paths::{TenantPaths, TimelinePaths};
pub use tenant::{
    CLONE_TIMELINE_STEP, CloneRecord, ClonesExhausted, FIRST_CLONE_TIMELINE, TenantManifest,
};
pub(crate) use timeline::NAME_LIMIT;
pub use timeline::{
    Ancestor, HistoryEntry, LayerRecord, LeaseRecord, MAX_LEASES, Manifest, Replaced, Rewrite,
    RulesRecord, Settings, Superseded, Upstream,
};

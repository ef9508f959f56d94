//! Where the files of a store are, relative to its root.

use std::path::PathBuf;

use walrecord::{PgTimelineId, TenantId, TimelineId};

use super::text::layer_id;
use crate::layer::LayerId;

/// The directory of all tenants.
pub(super) const TENANTS: &str = "tenants";

const MANIFEST: &str = "manifest";
const TIMELINES: &str = "timelines";
const WAL: &str = "wal";
const LAYERS: &str = "layers";
const LAYER_EXTENSION: &str = ".layer";

/// Where the files of a tenant are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TenantPaths {
    tenant: TenantId,
}

/// Where the files of a timeline are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TimelinePaths {
    tenant: TenantPaths,
    timeline: TimelineId,
}

impl TenantPaths {
    /// The paths of a tenant.
    pub const fn new(tenant: TenantId) -> TenantPaths {
        TenantPaths { tenant }
    }

    /// Its directory.
    pub fn dir(&self) -> PathBuf {
        PathBuf::from(TENANTS).join(self.tenant.to_string())
    }

    /// Its manifest.
    pub fn manifest(&self) -> PathBuf {
        self.dir().join(MANIFEST)
    }

    /// The directory of its timelines.
    pub fn timelines(&self) -> PathBuf {
        self.dir().join(TIMELINES)
    }

    /// The paths of one of its timelines.
    pub const fn timeline(&self, timeline: TimelineId) -> TimelinePaths {
        TimelinePaths {
            tenant: *self,
            timeline,
        }
    }
}

impl TimelinePaths {
    /// The paths of a timeline.
    pub const fn new(tenant: TenantId, timeline: TimelineId) -> TimelinePaths {
        TenantPaths::new(tenant).timeline(timeline)
    }

    /// The paths of another timeline of the tenant.
    pub const fn sibling(&self, timeline: TimelineId) -> TimelinePaths {
        self.tenant.timeline(timeline)
    }

    /// Its directory.
    pub fn dir(&self) -> PathBuf {
        self.tenant.timelines().join(self.timeline.to_string())
    }

    /// Its manifest.
    pub fn manifest(&self) -> PathBuf {
        self.dir().join(MANIFEST)
    }

    /// The directory of its WAL segments.
    pub fn wal(&self) -> PathBuf {
        self.dir().join(WAL)
    }

    /// The history file of a Postgres timeline that its WAL goes through, named as in `pg_wal`.
    pub fn pg_history(&self, timeline: PgTimelineId) -> PathBuf {
        self.wal().join(format!("{timeline:08X}.history"))
    }

    /// The directory of its layer files.
    pub fn layers(&self) -> PathBuf {
        self.dir().join(LAYERS)
    }

    /// A layer file.
    pub fn layer(&self, id: LayerId) -> PathBuf {
        self.layers().join(format!("{id}{LAYER_EXTENSION}"))
    }
}

/// The layer whose file has this name; none if it is no layer file's.
pub(super) fn parse_layer_name(name: &str) -> Option<LayerId> {
    name.strip_suffix(LAYER_EXTENSION).and_then(layer_id::parse)
}

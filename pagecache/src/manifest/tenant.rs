//! The manifest of a tenant.

use serde::{Deserialize, Serialize};
use walrecord::{Lsn, PgTimelineId, TenantId, TimelineId};

use super::envelope::ManifestFormat;
use super::error::Contradiction;
use super::file::ManifestFile;
use super::text;

/// The Postgres timeline of the first clone: far above what a cluster reaches by promotions.
pub const FIRST_CLONE_TIMELINE: PgTimelineId = 0x1000_0000;

/// How far the Postgres timelines of clones are apart: a clone's own promotions take the numbers
/// between.
pub const CLONE_TIMELINE_STEP: PgTimelineId = 0x1000;

/// What a tenant's timelines have in common.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TenantManifest {
    /// The tenant.
    #[serde(with = "text::printed")]
    pub tenant: TenantId,
    /// The system identifier of the cluster.
    #[serde(with = "text::printed")]
    pub system_identifier: u64,
    /// The Postgres timeline of the next clone.
    pub next_clone_timeline: PgTimelineId,
    /// The clones that were given one, in the order of their numbers.
    pub clones: Vec<CloneRecord>,
}

/// A point of history that was cloned.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CloneRecord {
    /// The timeline that was cloned.
    #[serde(with = "text::printed")]
    pub timeline: TimelineId,
    /// Where.
    #[serde(with = "text::printed")]
    pub lsn: Lsn,
    /// The Postgres timeline that clones of this point are on.
    pub pg_timeline: PgTimelineId,
}

/// All Postgres timelines for clones are given out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("all Postgres timeline numbers for clones are given out")]
pub struct ClonesExhausted;

impl TenantManifest {
    /// The manifest of a tenant without clones.
    pub const fn new(tenant: TenantId, system_identifier: u64) -> TenantManifest {
        TenantManifest {
            tenant,
            system_identifier,
            next_clone_timeline: FIRST_CLONE_TIMELINE,
            clones: Vec::new(),
        }
    }

    /// The Postgres timeline of clones of `timeline` at `lsn`: the one given out before for the same
    /// point, or the next. The manifest has to be written before a new one is used.
    ///
    /// # Errors
    /// If there is none left.
    pub fn clone_timeline(
        &mut self,
        timeline: TimelineId,
        lsn: Lsn,
    ) -> Result<PgTimelineId, ClonesExhausted> {
        let same = |clone: &&CloneRecord| clone.timeline == timeline && clone.lsn == lsn;
        if let Some(clone) = self.clones.iter().find(same) {
            return Ok(clone.pg_timeline);
        }
        let pg_timeline = self.next_clone_timeline;
        self.next_clone_timeline = pg_timeline
            .checked_add(CLONE_TIMELINE_STEP)
            .ok_or(ClonesExhausted)?;
        self.clones.push(CloneRecord {
            timeline,
            lsn,
            pg_timeline,
        });
        Ok(pg_timeline)
    }
}

impl ManifestFile for TenantManifest {
    const FORMAT: ManifestFormat = ManifestFormat {
        magic: *b"ZTHTNMAN",
        oldest: 1,
        version: 1,
    };

    fn check(&self) -> Result<(), Contradiction> {
        let mut lowest = FIRST_CLONE_TIMELINE;
        for clone in &self.clones {
            if clone.pg_timeline < lowest || clone.pg_timeline >= self.next_clone_timeline {
                return Err(Contradiction::Clone(clone.pg_timeline));
            }
            // Below the counter, which has not overflowed.
            lowest = clone.pg_timeline + 1;
        }
        if self.next_clone_timeline < lowest {
            return Err(Contradiction::Clone(self.next_clone_timeline));
        }
        Ok(())
    }
}

//! The manifest of a timeline.

use serde::{Deserialize, Serialize};
use walrecord::{Lsn, PgTimelineId, PgVersion, TenantId, TimelineId, is_segment_size};

use super::envelope::ManifestFormat;
use super::error::Contradiction;
use super::file::ManifestFile;
use super::text;
use crate::key::Key;
use crate::layer::{LayerId, LayerKind, LayerSummary};

/// Longest name of a timeline, bytes.
const NAME_LIMIT: usize = 64;

/// What a timeline consists of.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The tenant.
    #[serde(with = "text::printed")]
    pub tenant: TenantId,
    /// The timeline.
    #[serde(with = "text::printed")]
    pub timeline: TimelineId,
    /// What people call it: letters, digits and `._-`.
    pub name: String,
    /// The system identifier of the cluster.
    #[serde(with = "text::printed")]
    pub system_identifier: u64,
    /// The cluster's major version.
    #[serde(with = "text::major")]
    pub version: PgVersion,
    /// Bytes of a WAL segment.
    pub segment_size: u32,
    /// The Postgres timelines that it has followed, the oldest first. Never empty.
    pub history: Vec<HistoryEntry>,
    /// Where the imported backup starts: pages of it may be of any LSN from the far past to
    /// `import_stop`, and redo runs from here.
    #[serde(with = "text::printed")]
    pub import_start: Lsn,
    /// Where the imported backup is consistent: nothing is readable below.
    #[serde(with = "text::printed")]
    pub import_stop: Lsn,
    /// Everything up to here is in layers; WAL from here on is still to be indexed when the timeline
    /// is opened.
    #[serde(with = "text::printed")]
    pub disk_consistent_lsn: Lsn,
    /// The id of the next layer. All layers that ever were have a smaller one.
    #[serde(with = "text::layer_id")]
    pub next_layer: LayerId,
    /// The layer files, in ascending order of id.
    pub layers: Vec<LayerRecord>,
    /// What else is known of the cluster.
    pub settings: Settings,
}

/// A stretch of history on one Postgres timeline.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HistoryEntry {
    /// Its number.
    pub timeline: PgTimelineId,
    /// Where it begins: the start of the import, or the switch point.
    #[serde(with = "text::printed")]
    pub start: Lsn,
}

/// A layer file.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(from = "LayerText", into = "LayerText")]
pub struct LayerRecord {
    /// Its id.
    pub id: LayerId,
    /// What is in it.
    pub summary: LayerSummary,
}

/// Settings of the cluster that decide what redo does.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Pages carry checksums.
    pub data_checksums: bool,
    /// The rules of redo over time, ascending. Never empty; the first hold for whatever is before them.
    pub rules: Vec<RulesRecord>,
}

/// Rules of redo, and from when on they hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RulesRecord {
    /// Records that end above this follow them, up to the next entry.
    #[serde(with = "text::printed")]
    pub from: Lsn,
    /// The minor release, the `18` of 15.18.
    pub minor: u16,
    /// Hint bits are logged: checksums or `wal_log_hints` are on.
    pub hint_bits_logged: bool,
}

/// A layer as it stands in the file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LayerText {
    #[serde(with = "text::layer_id")]
    id: LayerId,
    #[serde(with = "text::layer_kind")]
    kind: LayerKind,
    #[serde(with = "text::key")]
    first_key: Key,
    #[serde(with = "text::key")]
    last_key: Key,
    #[serde(with = "text::printed")]
    min_lsn: Lsn,
    #[serde(with = "text::printed")]
    max_lsn: Lsn,
    entries: u64,
    keys: u64,
    size: u64,
    checksum: u32,
}

impl ManifestFile for Manifest {
    const FORMAT: ManifestFormat = ManifestFormat {
        magic: *b"ZTHTLMAN",
        version: 1,
    };

    fn check(&self) -> Result<(), Contradiction> {
        if !is_name(&self.name) {
            return Err(Contradiction::Name(self.name.clone()));
        }
        if !is_segment_size(self.segment_size) {
            return Err(Contradiction::SegmentSize(self.segment_size));
        }
        if self.import_start > self.import_stop {
            return Err(Contradiction::Import {
                start: self.import_start,
                stop: self.import_stop,
            });
        }
        if self.disk_consistent_lsn < self.import_start {
            return Err(Contradiction::DiskConsistent {
                lsn: self.disk_consistent_lsn,
                start: self.import_start,
            });
        }
        self.check_history()?;
        self.check_rules()?;
        self.check_layers()
    }
}

impl Manifest {
    fn check_history(&self) -> Result<(), Contradiction> {
        if self.history.is_empty() {
            return Err(Contradiction::History(None));
        }
        let ascends = |pair: &&[HistoryEntry]| {
            pair[0].timeline < pair[1].timeline && pair[0].start <= pair[1].start
        };
        match self.history.windows(2).find(|pair| !ascends(pair)) {
            Some(pair) => Err(Contradiction::History(Some(pair[1].timeline))),
            None => Ok(()),
        }
    }

    fn check_rules(&self) -> Result<(), Contradiction> {
        let rules = &self.settings.rules;
        if rules.is_empty() {
            return Err(Contradiction::Rules(None));
        }
        match rules.windows(2).find(|pair| pair[0].from >= pair[1].from) {
            Some(pair) => Err(Contradiction::Rules(Some(pair[1].from))),
            None => Ok(()),
        }
    }

    fn check_layers(&self) -> Result<(), Contradiction> {
        let mut previous = None;
        for LayerRecord { id, summary } in &self.layers {
            if previous >= Some(*id) {
                return Err(Contradiction::LayerOrder(*id));
            }
            if *id >= self.next_layer {
                return Err(Contradiction::LayerId {
                    id: *id,
                    next: self.next_layer,
                });
            }
            if summary.first_key > summary.last_key || summary.min_lsn > summary.max_lsn {
                return Err(Contradiction::LayerRange(*id));
            }
            previous = Some(*id);
        }
        Ok(())
    }
}

fn is_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    (1..=NAME_LIMIT).contains(&name.len()) && name.bytes().all(plain)
}

impl From<LayerText> for LayerRecord {
    fn from(text: LayerText) -> LayerRecord {
        LayerRecord {
            id: text.id,
            summary: LayerSummary {
                kind: text.kind,
                first_key: text.first_key,
                last_key: text.last_key,
                min_lsn: text.min_lsn,
                max_lsn: text.max_lsn,
                entries: text.entries,
                keys: text.keys,
                file_size: text.size,
                checksum: text.checksum,
            },
        }
    }
}

impl From<LayerRecord> for LayerText {
    fn from(LayerRecord { id, summary }: LayerRecord) -> LayerText {
        LayerText {
            id,
            kind: summary.kind,
            first_key: summary.first_key,
            last_key: summary.last_key,
            min_lsn: summary.min_lsn,
            max_lsn: summary.max_lsn,
            entries: summary.entries,
            keys: summary.keys,
            size: summary.file_size,
            checksum: summary.checksum,
        }
    }
}

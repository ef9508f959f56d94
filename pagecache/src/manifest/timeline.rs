//! The manifest of a timeline.

use serde::{Deserialize, Serialize};
use walrecord::{Lsn, PgTime, PgTimelineId, PgVersion, TenantId, TimelineId, is_segment_size};

use super::envelope::ManifestFormat;
use super::error::Contradiction;
use super::file::ManifestFile;
use super::text;
use crate::key::Key;
use crate::layer::{LayerId, LayerKind, LayerSummary, RunId};

/// Longest name of a timeline, bytes.
pub(crate) const NAME_LIMIT: usize = 64;

/// The most LSNs of a timeline that are held by leases at a time: every compaction keeps a version of each page
/// for each of them.
pub const MAX_LEASES: usize = 1000;

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
    /// The runs that are being rewritten as one, if any are.
    #[serde(default)]
    pub rewrite: Option<Rewrite>,
    /// Where the WAL files begin, unless it is where the import's did: what is before was removed.
    #[serde(default, with = "text::printed")]
    pub wal_start: Lsn,
    /// What nobody can ask for any more lies below: garbage collection has kept single points of it only. Never
    /// goes back; zero as long as nothing was collected.
    #[serde(default, with = "text::printed")]
    pub gc_cutoff: Lsn,
    /// LSNs that readers asked to be held for a time, ascending, each once. Some may have run out.
    #[serde(default)]
    pub leases: Vec<LeaseRecord>,
    /// The timeline that this one branches from, if it is a branch.
    #[serde(default)]
    pub ancestor: Option<Ancestor>,
    /// The server that it goes on to take WAL from when the daemon starts, if it is told so.
    #[serde(default)]
    pub upstream: Option<Upstream>,
    /// The timeline whose name and place it took, if it did.
    #[serde(default)]
    pub replaces: Option<Replaced>,
    /// What took its name and place, if something did: it takes no WAL any more.
    #[serde(default)]
    pub superseded: Option<Superseded>,
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

/// A compaction under way: some runs become one, key by key. What is below `done` has gone over; layers of
/// the old runs that hold nothing else are gone.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rewrite {
    /// The runs that it takes from, ascending.
    pub from: Vec<RunId>,
    /// The run that it makes.
    pub into: RunId,
    /// Keys below are found in `into`, the others in `from`.
    #[serde(with = "text::key")]
    pub done: Key,
    /// Of the versions up to here only those are kept that are the newest at one of `points`, or here. The same
    /// from the first key to the last, whatever is collected meanwhile.
    #[serde(with = "text::printed")]
    pub cutoff: Lsn,
    /// Single LSNs below the cutoff at which everything stays readable, ascending.
    #[serde(with = "text::printed_list")]
    pub points: Vec<Lsn>,
}

/// An LSN that stays readable for a time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeaseRecord {
    /// The LSN.
    #[serde(with = "text::printed")]
    pub lsn: Lsn,
    /// Until when: microseconds since 2000-01-01 00:00:00 UTC.
    pub until: PgTime,
}

/// Where a branch begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ancestor {
    /// The timeline that it branches from, of the same tenant.
    #[serde(with = "text::printed")]
    pub timeline: TimelineId,
    /// What that timeline has up to here is the branch's too.
    #[serde(with = "text::printed")]
    pub lsn: Lsn,
}

/// The server that a timeline takes WAL from. The store keeps it for whoever receives the WAL, and looks at
/// nothing of it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Upstream {
    /// How it is reached, without secrets: the file is as readable as the rest of the store.
    pub conninfo: String,
    /// The replication slot there.
    pub slot: String,
}

/// A timeline whose place another took. Once that one's manifest says so it is so: should the other's manifest
/// not say it yet, it is changed when the store is opened.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Replaced {
    /// The timeline, of the same tenant.
    #[serde(with = "text::printed")]
    pub timeline: TimelineId,
    /// Its name from then on.
    pub name: String,
}

/// What took a timeline's place.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Superseded {
    /// The timeline that did.
    #[serde(with = "text::printed")]
    pub by: TimelineId,
    /// What it has above here is its own only.
    #[serde(with = "text::printed")]
    pub fork: Lsn,
}

/// A layer file.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(from = "LayerText", into = "LayerText")]
pub struct LayerRecord {
    /// Its id.
    pub id: LayerId,
    /// The run that it is part of.
    pub run: RunId,
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
    /// Missing in version 1, in which every delta layer is a run, and all images are one.
    #[serde(default)]
    run: Option<RunId>,
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
        oldest: 1,
        version: 3,
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
        self.check_succession()?;
        self.check_history()?;
        self.check_rules()?;
        self.check_rewrite()?;
        self.check_leases()?;
        self.check_layers()
    }
}

impl Manifest {
    fn check_succession(&self) -> Result<(), Contradiction> {
        if let Some(Replaced { timeline, name }) = &self.replaces {
            if !is_name(name) || *name == self.name {
                return Err(Contradiction::Name(name.clone()));
            }
            if *timeline == self.timeline {
                return Err(Contradiction::Succession(*timeline));
            }
        }
        match self.superseded {
            Some(superseded) if superseded.by == self.timeline => {
                Err(Contradiction::Succession(superseded.by))
            }
            _ => Ok(()),
        }
    }

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

    fn check_rewrite(&self) -> Result<(), Contradiction> {
        let Some(Rewrite { from, into, .. }) = &self.rewrite else {
            return Ok(());
        };
        let ascends = from.windows(2).all(|pair| pair[0] < pair[1]);
        match from.is_empty() || !ascends || from.contains(into) {
            true => Err(Contradiction::Rewrite(*into)),
            false => Ok(()),
        }
    }

    fn check_leases(&self) -> Result<(), Contradiction> {
        let mut pairs = self.leases.windows(2);
        match pairs.find(|pair| pair[0].lsn >= pair[1].lsn) {
            Some(pair) => Err(Contradiction::Lease(pair[1].lsn)),
            None if self.leases.len() > MAX_LEASES => Err(Contradiction::Leases(self.leases.len())),
            None => Ok(()),
        }
    }

    fn check_layers(&self) -> Result<(), Contradiction> {
        let mut previous = None;
        for LayerRecord { id, summary, .. } in &self.layers {
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

/// The name in bytes that are no sound manifest, if one stands where a name would: for whoever has to tell a
/// person which timeline it is.
pub(super) fn likely_name(bytes: &[u8]) -> Option<String> {
    const BEFORE: &[u8] = b"\"name\":\"";
    let at = bytes.windows(BEFORE.len()).position(|it| it == BEFORE)?;
    let rest = &bytes[at + BEFORE.len()..];
    let end = rest.iter().take(NAME_LIMIT + 1).position(|b| *b == b'"')?;
    let name = std::str::from_utf8(&rest[..end]).ok()?;
    is_name(name).then(|| name.to_owned())
}

impl From<LayerText> for LayerRecord {
    fn from(text: LayerText) -> LayerRecord {
        let of_version_1 = match text.kind {
            LayerKind::Delta => RunId::new(text.id.get()),
            LayerKind::Image => RunId::new(0),
        };
        LayerRecord {
            id: text.id,
            run: text.run.unwrap_or(of_version_1),
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
    fn from(LayerRecord { id, run, summary }: LayerRecord) -> LayerText {
        LayerText {
            id,
            run: Some(run),
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

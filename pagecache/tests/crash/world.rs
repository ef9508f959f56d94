//! A timeline that works on its files at random, and what must be left of it after a crash.

use std::collections::BTreeMap;
use std::fmt::{self, Debug};
use std::sync::Arc;

use pagecache::storage::{Access, Rng, SimulatedDisk, Storage, create_dirs_durably};
use pagecache::{
    HistoryEntry, Key, LayerId, LayerKind, LayerRecord, LayerSummary, Manifest, ManifestFile,
    RulesRecord, RunId, Settings, TenantManifest, TenantPaths, TimelinePaths, WalStore,
    list_timelines, take_inventory,
};
use walrecord::{Lsn, PgVersion, TenantId, TimelineId};

const SEGMENT_SIZE: u32 = 1 << 20;
const PG_TIMELINE: u32 = 1;
const TENANT: TenantId = TenantId::from_bytes([1; 16]);
const TIMELINE: TimelineId = TimelineId::from_bytes([2; 16]);

/// A promise that the disk did not keep.
#[derive(Debug)]
pub(crate) struct Violation(String);

/// Why a session ends early.
pub(crate) enum Ending {
    /// The disk stopped: the process is dead.
    Stopped,
    /// Something went wrong that should not have.
    Violation(Violation),
}

/// What the program did and was told. It lives outside the disk, and knows what must be there.
#[derive(Clone)]
pub(crate) struct World {
    start: Lsn,
    /// The WAL from `start` on, with bytes of an append that may have been cut short.
    wal: Vec<u8>,
    /// The last LSN that a sync returned.
    synced: Lsn,
    tenant: Versions<TenantManifest>,
    manifest: Versions<Manifest>,
    /// Content of every layer that was ever made, by id.
    layers: BTreeMap<LayerId, Vec<u8>>,
}

/// A file that is replaced as a whole.
#[derive(Clone)]
struct Versions<T> {
    /// The one whose writing was acknowledged.
    acknowledged: Option<T>,
    /// One that was to be written and may be there.
    attempted: Option<T>,
}

impl World {
    pub(crate) fn new(rng: &mut Rng) -> World {
        // In the middle of a segment or at its start, and often close to its end.
        let offset = match rng.below(3) {
            0 => 0,
            1 => rng.below(u64::from(SEGMENT_SIZE)),
            _ => u64::from(SEGMENT_SIZE) - rng.between(1, 20_000),
        };
        let start = Lsn::new(5 * u64::from(SEGMENT_SIZE) + offset);
        World {
            start,
            wal: Vec::new(),
            synced: start,
            tenant: Versions::none(),
            manifest: Versions::none(),
            layers: BTreeMap::new(),
        }
    }

    /// Works on a disk that holds what this world has left there, or nothing.
    pub(crate) fn session(
        &mut self,
        disk: &SimulatedDisk,
        rng: &mut Rng,
        steps: u32,
    ) -> Result<(), Ending> {
        let result = self.work(disk, rng, steps);
        result.map_err(|ending| match ending {
            // Everything fails on a disk that stopped.
            Ending::Violation(_) if disk.exists("".as_ref()).is_err() => Ending::Stopped,
            other => other,
        })
    }

    fn work(&mut self, disk: &SimulatedDisk, rng: &mut Rng, steps: u32) -> Result<(), Ending> {
        self.set_up(disk)?;
        let wal = open_wal(disk, self.start)?;
        for _ in 0..steps {
            match rng.below(20) {
                0..9 => self.append(&wal, rng)?,
                9..13 => self.sync(&wal)?,
                13 => self.rewind(&wal, rng)?,
                14..16 => self.add_layer(disk, rng)?,
                16 => self.leave_layer(disk, rng)?,
                17 => self.drop_layer(disk, rng)?,
                18 => self.clone_somewhere(disk, rng)?,
                _ => self.read_somewhere(&wal, rng)?,
            }
        }
        Ok(())
    }

    fn set_up(&mut self, disk: &SimulatedDisk) -> Result<(), Ending> {
        let tenant = TenantPaths::new(TENANT);
        if self.tenant.acknowledged.is_none() {
            create_dirs_durably(disk, &tenant.dir())?;
            let manifest = TenantManifest::new(TENANT, 7);
            self.tenant
                .write(manifest, |new| new.write(disk, &tenant.manifest()))?;
        }
        if self.manifest.acknowledged.is_none() {
            let paths = paths();
            create_dirs_durably(disk, &paths.layers())?;
            let wal = open_wal(disk, self.start)?;
            self.sync(&wal)?;
            let manifest = first_manifest(self.start);
            self.manifest
                .write(manifest, |new| new.write(disk, &paths.manifest()))?;
        }
        Ok(())
    }

    fn append(&mut self, wal: &WalStore, rng: &mut Rng) -> Result<(), Ending> {
        let length = match rng.below(50) {
            0..30 => rng.between(0, 2000),
            30..45 => rng.between(8000, 20_000),
            45..49 => rng.between(50_000, 150_000),
            _ => rng.between(1_000_000, 1_200_000),
        };
        let mut bytes = vec![0; length as usize];
        rng.fill(&mut bytes);
        let end = self.end();
        if wal.end() != end {
            return Err(violation(format!("end {} instead of {end}", wal.end())));
        }
        self.wal.extend_from_slice(&bytes);
        wal.append(end, &bytes)?;
        Ok(())
    }

    fn sync(&mut self, wal: &WalStore) -> Result<(), Ending> {
        self.synced = wal.sync()?;
        if self.synced != self.end() {
            return Err(violation(format!("synced to {} only", self.synced)));
        }
        Ok(())
    }

    fn rewind(&mut self, wal: &WalStore, rng: &mut Rng) -> Result<(), Ending> {
        let to = self.start + rng.between(0, self.wal.len() as u64);
        // From here on nothing is promised beyond it.
        self.synced = self.synced.min(to);
        wal.rewind(to)?;
        self.wal.truncate((to - self.start) as usize);
        self.synced = to;
        Ok(())
    }

    fn read_somewhere(&mut self, wal: &WalStore, rng: &mut Rng) -> Result<(), Ending> {
        let from = rng.between(0, self.wal.len() as u64) as usize;
        let mut buf = vec![0; rng.between(0, 100_000) as usize];
        let read = wal.read_at(self.start + from as u64, &mut buf)?;
        let expected = &self.wal[from..self.wal.len().min(from + buf.len())];
        if buf[..read] != *expected {
            return Err(violation(format!("{read} bytes read at {from} differ")));
        }
        Ok(())
    }

    /// A layer as it should be: durable, then named.
    fn add_layer(&mut self, disk: &SimulatedDisk, rng: &mut Rng) -> Result<(), Ending> {
        let mut manifest = self.current_manifest();
        let record = self.make_layer(disk, &manifest, rng)?;
        disk.sync_dir(&paths().layers())?;
        manifest.layers.push(record);
        manifest.next_layer = LayerId::new(record.id.get() + 1);
        manifest.disk_consistent_lsn = manifest.disk_consistent_lsn.max(self.synced);
        self.write_manifest(disk, manifest)
    }

    /// A layer that never gets into the manifest.
    fn leave_layer(&mut self, disk: &SimulatedDisk, rng: &mut Rng) -> Result<(), Ending> {
        let mut manifest = self.current_manifest();
        let record = self.make_layer(disk, &manifest, rng)?;
        manifest.next_layer = LayerId::new(record.id.get() + 1);
        manifest.settings.data_checksums = !manifest.settings.data_checksums;
        self.write_manifest(disk, manifest)
    }

    fn drop_layer(&mut self, disk: &SimulatedDisk, rng: &mut Rng) -> Result<(), Ending> {
        let mut manifest = self.current_manifest();
        if manifest.layers.is_empty() {
            return Ok(());
        }
        let at = rng.below(manifest.layers.len() as u64) as usize;
        let record = manifest.layers.remove(at);
        self.write_manifest(disk, manifest)?;
        disk.remove_file(&paths().layer(record.id))?;
        Ok(())
    }

    fn clone_somewhere(&mut self, disk: &SimulatedDisk, rng: &mut Rng) -> Result<(), Ending> {
        let mut tenant = self.tenant.acknowledged.clone().expect("set up");
        tenant.clone_timeline(TIMELINE, Lsn::new(rng.below(5)))?;
        let path = TenantPaths::new(TENANT).manifest();
        self.tenant.write(tenant, |new| new.write(disk, &path))?;
        Ok(())
    }

    fn make_layer(
        &mut self,
        disk: &SimulatedDisk,
        manifest: &Manifest,
        rng: &mut Rng,
    ) -> Result<LayerRecord, Ending> {
        let id = manifest.next_layer;
        let mut content = vec![0; rng.between(0, 5000) as usize];
        rng.fill(&mut content);
        let file = disk.create(&paths().layer(id))?;
        let half = content.len() / 2;
        file.write_all_at(&content[..half], 0)?;
        file.write_all_at(&content[half..], half as u64)?;
        file.sync()?;
        let record = layer_record(id, &content, self.synced);
        self.layers.insert(id, content);
        Ok(record)
    }

    fn write_manifest(&mut self, disk: &SimulatedDisk, manifest: Manifest) -> Result<(), Ending> {
        self.manifest
            .write(manifest, |new| new.write(disk, &paths().manifest()))?;
        Ok(())
    }

    fn current_manifest(&self) -> Manifest {
        self.manifest.acknowledged.clone().expect("set up")
    }

    fn end(&self) -> Lsn {
        self.start + self.wal.len() as u64
    }
}

/// What a restart does and finds.
impl World {
    /// Opens the store on a disk that does not stop.
    pub(crate) fn recover(&mut self, disk: &SimulatedDisk) -> Result<(), Violation> {
        match self.try_recover(disk) {
            Ok(()) => Ok(()),
            Err(Ending::Violation(violation)) => Err(violation),
            Err(Ending::Stopped) => unreachable!("the disk has no stop"),
        }
    }

    /// Opens the store, checks it, and takes what it finds for the truth.
    pub(crate) fn try_recover(&mut self, disk: &SimulatedDisk) -> Result<(), Ending> {
        let result = self.check(disk);
        result.map_err(|ending| match ending {
            Ending::Violation(_) if disk.exists("".as_ref()).is_err() => Ending::Stopped,
            other => other,
        })
    }

    fn check(&mut self, disk: &SimulatedDisk) -> Result<(), Ending> {
        take_inventory(disk)?;
        self.check_tenant(disk)?;
        self.check_manifest(disk)?;
        if self.manifest.acknowledged.is_some() {
            self.check_layers(disk)?;
            self.check_wal(disk)
        } else {
            self.wal.clear();
            self.synced = self.start;
            Ok(())
        }
    }

    fn check_tenant(&mut self, disk: &SimulatedDisk) -> Result<(), Ending> {
        let path = TenantPaths::new(TENANT).manifest();
        let found = match disk.exists(&path)? {
            true => Some(TenantManifest::read(disk, &path)?),
            false => None,
        };
        self.tenant.settle(found)
    }

    fn check_manifest(&mut self, disk: &SimulatedDisk) -> Result<(), Ending> {
        let found = match list_timelines(disk, TENANT)?.as_slice() {
            [] => None,
            [TIMELINE] => Some(Manifest::read(disk, &paths().manifest())?),
            other => return Err(violation(format!("timelines {other:?}"))),
        };
        self.manifest.settle(found)
    }

    fn check_layers(&mut self, disk: &SimulatedDisk) -> Result<(), Ending> {
        let manifest = self.current_manifest();
        for LayerRecord { id, .. } in &manifest.layers {
            let file = disk.open(&paths().layer(*id), Access::Read)?;
            let mut content = vec![0; file.len()? as usize];
            file.read_exact_at(&mut content, 0)?;
            if content != self.layers[id] {
                return Err(violation(format!("content of layer {id} differs")));
            }
        }
        let there = disk.list(&paths().layers())?.len();
        if there != manifest.layers.len() {
            return Err(violation(format!("{there} files beside the layers")));
        }
        Ok(())
    }

    fn check_wal(&mut self, disk: &SimulatedDisk) -> Result<(), Ending> {
        let wal = open_wal(disk, self.start)?;
        let end = wal.end();
        if end < self.synced || end > self.end() {
            let (synced, written) = (self.synced, self.end());
            return Err(violation(format!(
                "the WAL ends at {end}: {synced} was synced, {written} written"
            )));
        }
        let mut found = vec![0; (end - self.start) as usize];
        let read = wal.read_at(self.start, &mut found)?;
        if read != found.len() {
            return Err(violation(format!("{read} bytes of {} read", found.len())));
        }
        let promised = (self.synced - self.start) as usize;
        if found[..promised] != self.wal[..promised] {
            return Err(violation(format!("bytes below {} differ", self.synced)));
        }
        // Beyond it, zeros and what was written, but nothing that was discarded before.
        let stale = |(found, written): (&u8, &u8)| *found != 0 && found != written;
        if let Some(at) = found.iter().zip(&self.wal).position(stale) {
            return Err(violation(format!("stale byte {at} behind the start")));
        }
        // The first byte that was not written stands for the end of the last valid record.
        let valid = found.iter().zip(&self.wal).take_while(|(a, b)| a == b);
        let valid = valid.count().max(promised);
        found.truncate(valid);
        self.synced = self.synced.min(self.start + valid as u64);
        wal.rewind(self.start + valid as u64)?;
        self.wal = found;
        self.synced = wal.synced();
        Ok(())
    }
}

impl<T: Clone + PartialEq + Debug> Versions<T> {
    fn none() -> Versions<T> {
        Versions {
            acknowledged: None,
            attempted: None,
        }
    }

    fn write<E>(&mut self, new: T, write: impl FnOnce(&T) -> Result<(), E>) -> Result<(), E> {
        self.attempted = Some(new.clone());
        write(&new)?;
        self.acknowledged = Some(new);
        self.attempted = None;
        Ok(())
    }

    /// Takes what was found for the truth, if it may be that.
    fn settle(&mut self, found: Option<T>) -> Result<(), Ending> {
        if found != self.acknowledged && (found.is_none() || found != self.attempted) {
            return Err(violation(format!(
                "{found:?} is neither {:?} nor {:?}",
                self.acknowledged, self.attempted
            )));
        }
        self.acknowledged = found;
        self.attempted = None;
        Ok(())
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<E: std::error::Error> From<E> for Ending {
    fn from(error: E) -> Ending {
        violation(format!("{error}: {:?}", error.source()))
    }
}

fn violation(text: String) -> Ending {
    Ending::Violation(Violation(text))
}

fn paths() -> TimelinePaths {
    TimelinePaths::new(TENANT, TIMELINE)
}

fn open_wal(disk: &SimulatedDisk, start: Lsn) -> Result<WalStore, Ending> {
    let storage = Arc::new(disk.clone());
    let history = [HistoryEntry {
        timeline: PG_TIMELINE,
        start,
    }];
    let wal = WalStore::open(storage, &paths().wal(), SEGMENT_SIZE, &history, start)?;
    Ok(wal)
}

fn first_manifest(start: Lsn) -> Manifest {
    Manifest {
        tenant: TENANT,
        timeline: TIMELINE,
        name: "main".to_owned(),
        system_identifier: 7,
        version: PgVersion::V15,
        segment_size: SEGMENT_SIZE,
        history: vec![HistoryEntry {
            timeline: PG_TIMELINE,
            start,
        }],
        import_start: start,
        import_stop: start,
        disk_consistent_lsn: start,
        next_layer: LayerId::new(1),
        layers: Vec::new(),
        rewrite: None,
        wal_start: Lsn::INVALID,
        gc_cutoff: Lsn::INVALID,
        leases: Vec::new(),
        ancestor: None,
        upstream: None,
        replaces: None,
        superseded: None,
        settings: Settings {
            data_checksums: false,
            rules: vec![RulesRecord {
                from: Lsn::INVALID,
                minor: 18,
                hint_bits_logged: false,
            }],
        },
    }
}

fn layer_record(id: LayerId, content: &[u8], lsn: Lsn) -> LayerRecord {
    LayerRecord {
        id,
        run: RunId::new(id.get()),
        summary: LayerSummary {
            kind: LayerKind::Delta,
            first_key: Key::control(),
            last_key: Key::control(),
            min_lsn: lsn,
            max_lsn: lsn,
            entries: 1,
            keys: 1,
            file_size: content.len() as u64,
            checksum: 0,
        },
    }
}

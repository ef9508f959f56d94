//! The demo's cast: a primary under load, its archive, a page server that follows it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use pagecache::storage::LocalStorage;
use pagecache::{Store, StoreConfig, Timeline};
use pageservice::{Listen, PageService, PageServiceOptions};
use slog::Logger;
use stockpg::{
    BackupSource, Cluster, InitOptions, PgInstall, Recovery, Scratch, Workload, WorkloadOptions,
};
use walreceiver::{ConnInfo, SlotName};
use walrecord::Lsn;

use super::figures::Figures;
use crate::import::{LiveImport, import_live};
use crate::receivers::Receivers;
use crate::serve::StoreSource;
use crate::stop::Stop;

/// Memory of an open layer: small, so that a demo writes layer files, too.
const OPEN_LAYER_WAL: u64 = 16 << 20;

/// Everything that runs.
pub(super) struct Scene {
    primary: Cluster,
    workload: Option<Workload>,
    store: Arc<Store>,
    timeline: Option<Timeline>,
    receivers: Receivers,
    service: Option<PageService>,
    backup: PathBuf,
    log: Logger,
    // Last: what is in it goes first. Absent once it is to be kept.
    home: Option<Scratch>,
}

impl Scene {
    /// A primary with the workload's schema, and an empty store.
    pub(super) fn set(install: &PgInstall, log: &Logger) -> Result<Scene> {
        let options = InitOptions {
            checksums: true,
            archive: true,
            conf: Workload::CONF.map(str::to_owned).to_vec(),
            ..InitOptions::default()
        };
        let primary = Cluster::init(install, &options)?;
        let workload = Workload::prepare(&primary, &WorkloadOptions::default())?;
        let home = Scratch::new(&install.user(), None)?;
        let backup = home.path().join("backup");
        std::fs::create_dir(&backup)?;
        let storage = LocalStorage::new(home.path().join("store"))?;
        let config = StoreConfig {
            open_layer_wal: OPEN_LAYER_WAL,
            ..StoreConfig::default()
        };
        let store = Arc::new(Store::open(Arc::new(storage), config, log.clone())?);
        Ok(Scene {
            primary,
            workload: Some(workload),
            receivers: Receivers::new(&store, log),
            store,
            timeline: None,
            service: None,
            backup,
            log: log.clone(),
            home: Some(home),
        })
    }

    /// Runs the workload once.
    pub(super) fn work(&mut self) -> Result<()> {
        self.workload
            .as_mut()
            .context("the workload is away")?
            .run_all()
    }

    /// Imports the primary while the workload runs in another thread, then follows it.
    pub(super) fn import_during_work(&mut self, figures: &mut Figures) -> Result<()> {
        let mut workload = self.workload.take().context("the workload is away")?;
        let busy = thread::spawn(move || workload.run_all().map(|()| workload));
        let begin = Instant::now();
        let import = LiveImport {
            conninfo: self.conninfo()?,
            name: "main".to_owned(),
            slot: self.slot()?,
            tee: Some(self.backup.clone()),
        };
        let timeline = import_live(&self.store, &import, &Stop::default(), |_| {}, &self.log)?;
        figures.imported(timeline.sizes().layer_bytes, &self.backup, begin.elapsed())?;
        let workload = busy
            .join()
            .map_err(|_| anyhow::anyhow!("the workload panicked"))??;
        self.workload = Some(workload);
        self.receivers.start(&timeline, &import.feed())?;
        let source = StoreSource::new(Arc::clone(&self.store), self.receivers.clone());
        self.service = Some(PageService::start(
            Listen::loopback(([127, 0, 0, 1], 0).into()),
            Arc::new(source),
            PageServiceOptions::default(),
            &self.log,
        )?);
        self.timeline = Some(timeline);
        Ok(())
    }

    fn conninfo(&self) -> Result<ConnInfo> {
        Ok(self.primary.address().conninfo("postgres").parse()?)
    }

    fn slot(&self) -> Result<SlotName> {
        Ok("zenith_main".parse()?)
    }

    /// A checkpoint, without which stock recovery would not write its pages out, and the LSN behind it.
    pub(super) fn mark(&mut self) -> Result<Lsn> {
        self.primary
            .client("postgres")?
            .batch_execute("CHECKPOINT")?;
        self.end()
    }

    /// Where the primary's WAL ends.
    pub(super) fn end(&self) -> Result<Lsn> {
        self.primary.insert_lsn()
    }

    pub(super) fn archive_through(&self, lsn: Lsn) -> Result<()> {
        self.primary.archived_through(lsn)
    }

    pub(super) fn timeline(&self) -> &Timeline {
        self.timeline.as_ref().expect("imported before")
    }

    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    pub(super) fn service(&self) -> &PageService {
        self.service.as_ref().expect("started with the import")
    }

    pub(super) fn install(&self) -> &PgInstall {
        self.primary.install()
    }

    pub(super) fn home(&self) -> &Path {
        self.home.as_ref().expect("kept only at the end").path()
    }

    /// Stock recovery of the very bytes that were imported, with WAL that the primary archived.
    pub(super) fn recovery(&self) -> Recovery {
        let archive = self.primary.archive().expect("archiving is on");
        Recovery::new(
            self.install(),
            BackupSource::Tars(self.backup.clone()),
            archive.dir(),
        )
    }

    /// The primary still runs, archives nothing of the clone, and has its tablespace.
    pub(super) fn primary_is_untouched(&self) -> Result<()> {
        let archive = self.primary.archive().context("archiving is on")?;
        for entry in std::fs::read_dir(archive.dir())? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            ensure!(
                name.starts_with("00000001"),
                "the clone archived {name} into the primary's archive"
            );
        }
        let mut client = self.primary.client(Workload::DATABASE)?;
        client.batch_execute("CREATE TABLE still_here (x int) ; DROP TABLE still_here")?;
        Ok(())
    }

    /// Stops everything and keeps the directory.
    pub(super) fn keep(mut self) -> Result<PathBuf> {
        self.stop();
        let home = self.home.take().context("kept already")?;
        Ok(home.keep())
    }

    fn stop(&mut self) {
        if let Some(service) = self.service.take() {
            service.stop();
        }
        self.receivers.stop();
        self.store.close();
    }
}

impl Drop for Scene {
    /// Before the primary goes: nobody is left who would miss it.
    fn drop(&mut self) {
        self.stop();
    }
}

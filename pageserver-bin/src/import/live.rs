//! Import of a running primary: slot, base backup and WAL at the same time.

use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use datadir::Importer;
use pagecache::{ControlState, ImportParams, ImportWriter, Store, Timeline};
use slog::{Logger, info, warn};
use walreceiver::{
    Archive, ArchiveKind, BackupEnd, BackupOptions, BackupProgress, BaseBackup, ConnInfo,
    Connection, ConnectionError, Control, Interrupt, Persistence, Primary, ReceiverStatus,
    SlotName, SqlState, SystemTiming, Tee, WalReservation, follow,
};
use walrecord::RedoRules;

use super::files::report_skipped;
use super::{StoreSink, new_tenant, new_timeline};
use crate::cli::PeerKind;
use crate::follow::{Acknowledge, TimelineSink};
use crate::receivers::Feed;
use crate::stop::Stop;

/// How long WAL up to the backup's end may make no progress before the import gives up.
const PATIENCE: Duration = Duration::from_secs(120);

/// How soon a request to stop is noticed.
const WATCH_PERIOD: Duration = Duration::from_millis(100);

/// What to import, and as what.
#[derive(Clone, Debug)]
pub struct LiveImport {
    /// The primary.
    pub conninfo: ConnInfo,
    /// The timeline's name.
    pub name: String,
    /// The slot that keeps WAL for us; made if it is not there.
    pub slot: SlotName,
    /// Keep a copy of the backup's archives in this directory.
    pub tee: Option<PathBuf>,
}

impl LiveImport {
    /// The primary as what the timeline follows from then on.
    pub fn feed(&self) -> Feed {
        Feed {
            conninfo: self.conninfo.clone(),
            slot: self.slot.clone(),
            peer: PeerKind::Postgres,
        }
    }
}

/// Imports a running primary. On return the timeline is readable from the backup's end on.
///
/// # Errors
/// If the primary refuses, or anything fails on the way; nothing is left of the import then.
pub fn import_live(
    store: &Store,
    import: &LiveImport,
    stop: &Stop,
    on_progress: impl FnMut(BackupProgress) + Send + 'static,
    log: &Logger,
) -> Result<Timeline> {
    let mut connection = Connection::connect(&import.conninfo, log)?;
    let primary = Primary::check(&mut connection)?;
    // The slot comes first: from here on the primary keeps what the backup will need.
    let created = create_slot(&mut connection, &import.slot, log)?;
    let imported = import_with_slot(
        store,
        import,
        (connection, &primary),
        stop,
        on_progress,
        log,
    );
    if imported.is_err() && created {
        drop_slot(import, log);
    }
    imported
}

/// Makes the slot if it is not there. Returns whether it was made.
fn create_slot(connection: &mut Connection, slot: &SlotName, log: &Logger) -> Result<bool> {
    match connection.create_physical_slot(slot, WalReservation::Now, Persistence::Persistent) {
        Ok(_) => {
            info!(log, "slot created"; "slot" => %slot);
            Ok(true)
        }
        Err(ConnectionError::Server { source, .. })
            if source.code == SqlState::DUPLICATE_OBJECT =>
        {
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}

/// A slot without a timeline would make the primary keep WAL for ever.
fn drop_slot(import: &LiveImport, log: &Logger) {
    let dropped = Connection::connect(&import.conninfo, log)
        .map_err(anyhow::Error::from)
        .and_then(|mut connection| Ok(connection.drop_slot(&import.slot)?));
    if let Err(error) = dropped {
        warn!(log, "the slot of the failed import could not be dropped: drop it on the primary";
            "slot" => %import.slot, "error" => format!("{error:#}"));
    }
}

fn import_with_slot(
    store: &Store,
    import: &LiveImport,
    (mut connection, primary): (Connection, &Primary),
    stop: &Stop,
    on_progress: impl FnMut(BackupProgress) + Send + 'static,
    log: &Logger,
) -> Result<Timeline> {
    let _watch = Watch::start(stop, connection.interrupt_handle()?)?;
    let history = match primary.identity.timeline {
        0..=1 => None,
        timeline => Some(connection.timeline_history(timeline)?),
    };
    let mut backup = BaseBackup::start(connection, primary.version, &BackupOptions::default())?;
    backup.on_progress(on_progress);
    let start = backup.start_info().clone();
    info!(log, "base backup started"; "start" => %start.lsn, "estimated_bytes" => start.estimated_bytes);
    let params = ImportParams {
        tenant: new_tenant()?,
        timeline: new_timeline()?,
        name: import.name.clone(),
        system_identifier: primary.identity.system_identifier,
        rules: RedoRules {
            version: primary.version,
            minor: primary.minor,
            hint_bits_logged: primary.data_checksums || primary.wal_log_hints,
        },
        segment_size: primary.segment_size,
        pg_timeline: start.timeline,
        start: start.lsn,
        data_checksums: primary.data_checksums,
    };
    let mut writer = store.begin_import(params)?;
    if let Some(history) = history.filter(|history| history.timeline == start.timeline) {
        let timeline = writer.timeline();
        timeline.keep_pg_history_file(history.timeline, &history.content)?;
    }
    let streaming = Streaming::start(&writer, import, log)?;
    let result = receive(&mut writer, backup, import, primary, log);
    let result = result.and_then(|end| {
        anyhow::ensure!(!stop.is_set(), "the import was interrupted");
        Ok(writer.finish(end.lsn, PATIENCE)?)
    });
    let streamed = streaming.stop();
    match (result, streamed) {
        (Ok(timeline), _) => {
            store.add(timeline.clone());
            Ok(timeline)
        }
        (Err(error), Err(cause)) => Err(error.context(format!("streaming WAL failed: {cause:#}"))),
        (Err(error), Ok(())) => Err(error),
    }
}

/// Reads all archives of the backup into the store.
fn receive(
    writer: &mut ImportWriter,
    mut backup: BaseBackup,
    import: &LiveImport,
    primary: &Primary,
    log: &Logger,
) -> Result<BackupEnd> {
    let report = {
        let mut sink = StoreSink(writer);
        let mut importer = Importer::new(primary.version, &mut sink);
        for tablespace in &backup.start_info().tablespaces.clone() {
            importer.tablespace(tablespace.oid, tablespace.location.as_bytes());
        }
        while let Some(archive) = backup.next_archive()? {
            read_archive(&mut importer, archive, import)?;
        }
        importer.finish()?
    };
    let (_, end) = backup.finish()?;
    report_skipped(&report, log);
    let control = report.control.context("the backup has no control file")?;
    writer.control(&ControlState::new(
        &control.checkpoint_copy,
        control.parameters,
    ));
    writer.file(super::CONTROL_FILE, control.bytes());
    info!(log, "base backup received"; "stop" => %end.lsn, "bytes" => report.bytes);
    Ok(end)
}

fn read_archive(
    importer: &mut Importer<'_>,
    archive: Archive<'_>,
    import: &LiveImport,
) -> Result<()> {
    let spc = match archive.kind() {
        ArchiveKind::Base => None,
        ArchiveKind::Tablespace { oid, .. } => Some(*oid),
        // Not asked for.
        ArchiveKind::Manifest => return Ok(()),
    };
    match &import.tee {
        Some(dir) => {
            let mut tee = Tee::create(dir, archive)?;
            importer.archive(spc, &mut tee)?;
            tee.finish()?;
        }
        None => {
            let mut archive = archive;
            importer.archive(spc, &mut archive)?;
            // What stands behind the archive's end mark.
            std::io::copy(&mut archive, &mut std::io::sink())?;
        }
    }
    Ok(())
}

/// Cuts a connection when the process is asked to stop: reads of a base backup block for as long as the
/// primary takes.
struct Watch {
    done: Stop,
    thread: Option<thread::JoinHandle<()>>,
}

impl Watch {
    fn start(stop: &Stop, interrupt: Interrupt) -> Result<Watch> {
        let done = Stop::default();
        let (stop, ended) = (stop.clone(), done.clone());
        let thread = thread::Builder::new()
            .name("import-watch".to_owned())
            .spawn(move || {
                while !ended.wait(WATCH_PERIOD) {
                    if stop.is_set() {
                        interrupt.interrupt();
                        break;
                    }
                }
            })?;
        Ok(Watch {
            done,
            thread: Some(thread),
        })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.done.set();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The WAL stream that runs beside the base backup. It acknowledges nothing.
struct Streaming {
    control: Control,
    thread: thread::JoinHandle<Result<()>>,
}

impl Streaming {
    fn start(writer: &ImportWriter, import: &LiveImport, log: &Logger) -> Result<Streaming> {
        let control = Control::new();
        let mut sink = TimelineSink::new(writer.timeline(), Acknowledge::Nothing, &control);
        let options = import.feed().options(writer.timeline());
        let (log, stop) = (log.clone(), control.clone());
        let thread = thread::Builder::new()
            .name("import-wal".to_owned())
            .spawn(move || {
                let mut timing = SystemTiming::default();
                let status = ReceiverStatus::new();
                follow(&options, &mut sink, &stop, &status, &mut timing, &log)?;
                Ok(())
            })?;
        Ok(Streaming { control, thread })
    }

    fn stop(self) -> Result<()> {
        self.control.stop();
        match self.thread.join() {
            Ok(result) => result,
            Err(_) => anyhow::bail!("the streaming thread panicked"),
        }
    }
}

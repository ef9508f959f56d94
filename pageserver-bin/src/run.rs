//! `pageserver run`: the daemon put together.

use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use pagecache::storage::LocalStorage;
use pagecache::{Store, Timeline};
use pageservice::http::{HttpService, HttpSources};
use pageservice::{Exposure, Listen, PageService, PageServiceOptions};
use slog::{Logger, info};
use walreceiver::BackupProgress;

use crate::cli::{PeerKind, Run};
use crate::config::Config;
use crate::follow::EXAMINE_LIMIT;
use crate::import::{LiveImport, import_live};
use crate::receivers::{Feed, Receivers, default_slot};
use crate::selftest;
use crate::serve::StoreSource;
use crate::status::StoreStatus;
use crate::stop::Stop;

/// Runs the daemon until `stop` is set.
///
/// # Errors
/// If it cannot start.
pub fn run(args: &Run, stop: &Stop, log: &Logger) -> Result<()> {
    let mut config = Config::read(args.config.as_deref())?;
    config.history_mb = args.history_mb.or(config.history_mb);
    let seconds = args.history_time.map(whole_seconds);
    config.history_time_s = seconds.or(config.history_time_s);
    info!(log, "page server starts"; "version" => env!("CARGO_PKG_VERSION"),
        "data_dir" => %args.data_dir.display());
    let store = open_store(args, &config, log)?;
    for timeline in store.timelines() {
        timeline.wait_examined(EXAMINE_LIMIT)?;
        let progress = timeline.progress();
        info!(log, "timeline is ready"; "timeline" => timeline.info().name,
            "readable_from" => %progress.readable_from, "last_record" => %progress.last_record);
    }
    let receivers = Receivers::new(&store, log);
    if let Some(primary) = &args.primary {
        let slot = match &args.slot {
            Some(slot) => slot.clone(),
            None => default_slot(&args.timeline)?,
        };
        let feed = Feed {
            conninfo: primary.clone(),
            slot,
            peer: args.peer,
        };
        let timeline = attach(args, &store, &feed, stop, log)?;
        receivers.start(&timeline, &feed)?;
    }
    receivers.start_told()?;
    if store.timelines().is_empty() && store.refused().is_empty() {
        bail!(
            "{} holds no timeline, and no primary is given: use --primary, or `pageserver import`",
            args.data_dir.display()
        );
    }
    let services = serve(args, &config, &store, &receivers, log)?;
    let self_test = match args.self_test_interval {
        Some(period) => Some(selftest::start(&store, period, stop, log)?),
        None => None,
    };
    stop.wait_for_ever();
    info!(log, "page server stops");
    services.stop();
    receivers.stop();
    if let Some(self_test) = self_test {
        let _ = self_test.join();
    }
    store.close();
    Ok(())
}

/// Opens the store of the command line.
///
/// # Errors
/// If it cannot be opened.
pub fn open_store(args: &Run, config: &Config, log: &Logger) -> Result<Arc<Store>> {
    let storage = LocalStorage::new(&args.data_dir)
        .with_context(|| format!("opening {}", args.data_dir.display()))?;
    Ok(Arc::new(Store::open(
        Arc::new(storage),
        config.store(),
        log.clone(),
    )?))
}

/// A time in seconds, no part of one lost.
fn whole_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

/// The timeline that follows the primary: the one that is there, or a new one imported from it.
fn attach(
    args: &Run,
    store: &Arc<Store>,
    feed: &Feed,
    stop: &Stop,
    log: &Logger,
) -> Result<Timeline> {
    let known = store
        .timelines()
        .into_iter()
        .find(|timeline| timeline.info().name == args.timeline);
    let mut refused = store.refused().iter();
    if known.is_none()
        && let Some(refused) =
            refused.find(|it| it.name.as_ref().is_none_or(|name| *name == args.timeline))
    {
        // An import would take the name, and the slot.
        bail!(
            "timeline {:?} is not imported anew, because it may be the one that is refused: {}",
            args.timeline,
            refused.reason
        );
    }
    match known {
        Some(timeline) => Ok(timeline),
        None if args.peer == PeerKind::Safekeeper => bail!(
            "there is no timeline {:?}, and a safekeeper gives no base backup: use `pageserver import` first",
            args.timeline
        ),
        None => import(args, store, feed, stop, log),
    }
}

fn import(
    args: &Run,
    store: &Arc<Store>,
    feed: &Feed,
    stop: &Stop,
    log: &Logger,
) -> Result<Timeline> {
    if let Some(dir) = &args.tee_backup {
        std::fs::create_dir_all(dir).with_context(|| format!("creating {}", dir.display()))?;
    }
    let import = LiveImport {
        conninfo: feed.conninfo.clone(),
        name: args.timeline.clone(),
        slot: feed.slot.clone(),
        tee: args.tee_backup.clone(),
    };
    let mut report = ProgressReport::new(log);
    let begin = Instant::now();
    let timeline = import_live(store, &import, stop, move |now| report.show(now), log)
        .context("importing the primary")?;
    info!(log, "primary imported"; "seconds" => begin.elapsed().as_secs(),
        "readable_from" => %timeline.progress().readable_from);
    Ok(timeline)
}

/// Shows how an import is doing: a line that changes on a terminal, log lines elsewhere.
struct ProgressReport {
    log: Logger,
    begin: Instant,
    last: Instant,
    terminal: bool,
}

impl ProgressReport {
    fn new(log: &Logger) -> ProgressReport {
        ProgressReport {
            log: log.clone(),
            begin: Instant::now(),
            last: Instant::now(),
            terminal: std::io::stderr().is_terminal(),
        }
    }

    fn show(&mut self, now: BackupProgress) {
        let period = Duration::from_millis(if self.terminal { 200 } else { 5_000 });
        if self.last.elapsed() < period {
            return;
        }
        self.last = Instant::now();
        let seconds = self.begin.elapsed().as_secs_f64().max(0.001);
        let rate = now.received as f64 / seconds;
        let left = now
            .estimated
            .map(|total| total.saturating_sub(now.received) as f64 / rate.max(1.0));
        let percent = now
            .estimated
            .map_or(0, |total| now.received.min(total) * 100 / total.max(1));
        if self.terminal {
            let bar: String = (0..25)
                .map(|i| if i * 4 < percent { '#' } else { '.' })
                .collect();
            let _ = write!(
                std::io::stderr(),
                "\rimporting [{bar}] {percent:3}%  {:.0} MB/s  {:.0} s left ",
                rate / 1e6,
                left.unwrap_or(0.0)
            );
        } else {
            info!(self.log, "importing"; "bytes" => now.received, "percent" => percent,
                "megabytes_per_second" => (rate / 1e6) as u64, "seconds_left" => left.map(|s| s as u64));
        }
    }
}

impl Drop for ProgressReport {
    fn drop(&mut self) {
        if self.terminal {
            let _ = writeln!(std::io::stderr());
        }
    }
}

/// The listening services.
struct Services {
    pages: PageService,
    http: HttpService,
}

impl Services {
    fn stop(self) {
        self.http.stop();
        self.pages.stop();
    }
}

fn serve(
    args: &Run,
    config: &Config,
    store: &Arc<Store>,
    receivers: &Receivers,
    log: &Logger,
) -> Result<Services> {
    let source = Arc::new(StoreSource::new(Arc::clone(store), receivers.clone()));
    let default = PageServiceOptions::default();
    let options = PageServiceOptions {
        max_connections: config.max_connections.unwrap_or(default.max_connections),
        wait_lsn_timeout: config
            .wait_lsn_timeout_s
            .map_or(default.wait_lsn_timeout, Duration::from_secs),
        ..default
    };
    let exposure = if args.allow_unauthenticated_network {
        Exposure::AnyoneUnauthenticated
    } else {
        Exposure::Loopback
    };
    let listen = |address| Listen { address, exposure };
    let pages = PageService::start(listen(args.listen_pg), source.clone(), options, log)?;
    let status = StoreStatus::new(
        Arc::clone(store),
        receivers.clone(),
        pages.local_addr(),
        log.clone(),
    );
    let status = Arc::new(status);
    let sources = HttpSources {
        pages: source,
        status: status.clone(),
        maintenance: status.clone(),
        history: status,
        stats: pages.stats_reader(),
    };
    let http = HttpService::start(listen(args.listen_http), sources, log)?;
    info!(log, "serving"; "page_stream" => %pages.local_addr(), "http" => %http.local_addr());
    Ok(Services { pages, http })
}

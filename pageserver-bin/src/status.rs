//! The store as HTTP shows and steers it.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use pagecache::{Histogram, IndexingWaits, ReadCounts, Refused, Store, Timeline};
use pageservice::http::{
    BranchRequest, CheckoutRequest, CheckpointDone, CompactDone, DeleteDone, FollowRequest, GcDone,
    HistoryRequest, HistorySource, LeaseDone, LeaseRequest, LsnOfTime, MaintenanceSource,
    PageHistory, ReadState, ReceiverState, ServerStatus, StatusSource, SupersededState,
    TenantStatus, TimeOfLsn, TimelineStatus, UpstreamState, VerifyDone,
};
use pageservice::{ErrorKind, SourceError};
use slog::Logger;
use walreceiver::ReceiverStatus;
use walrecord::Lsn;

use crate::checkout::{CheckoutJob, checkout};
use crate::maintain;
use crate::moment::Moment;
use crate::past;
use crate::receivers::Receivers;
use crate::serve::{find, store_error};

/// Shows a store and the receivers that feed its timelines.
pub struct StoreStatus {
    store: Arc<Store>,
    receivers: Receivers,
    listen_pg: SocketAddr,
    started: Instant,
    /// Held while a timeline is told whom to follow.
    telling: Mutex<()>,
    log: Logger,
}

impl StoreStatus {
    /// A view of this store.
    pub fn new(
        store: Arc<Store>,
        receivers: Receivers,
        listen_pg: SocketAddr,
        log: Logger,
    ) -> StoreStatus {
        StoreStatus {
            store,
            receivers,
            listen_pg,
            started: Instant::now(),
            telling: Mutex::new(()),
            log,
        }
    }

    /// What the command line says is not undone by a request.
    fn must_not_be_of_command_line(&self, timeline: &Timeline) -> Result<(), SourceError> {
        let info = timeline.info();
        if timeline.upstream().is_some() || self.receivers.status_of(info.timeline).is_none() {
            return Ok(());
        }
        let text = format!(
            "{:?} follows a primary: stop the server, or start it without --primary",
            info.name
        );
        Err(SourceError::new(ErrorKind::Invalid, text))
    }

    fn find(&self, tenant: &str, timeline: &str) -> Result<Timeline, SourceError> {
        find(&self.store, tenant, timeline).map_err(store_error)
    }

    fn describe(&self, timeline: &Timeline) -> TimelineStatus {
        describe(timeline, self.receivers.status_of(timeline.info().timeline))
    }

    /// The timelines that could not be opened.
    fn refused(&self) -> Vec<TimelineStatus> {
        let refused = self.store.refused().iter();
        refused.filter_map(refused_status).collect()
    }
}

/// A timeline, and the receiver that feeds it if one does.
pub fn describe(timeline: &Timeline, receiver: Option<ReceiverStatus>) -> TimelineStatus {
    let info = timeline.info();
    let progress = timeline.progress();
    let sizes = timeline.sizes();
    let windows = timeline.windows();
    let leases = timeline.leases();
    TimelineStatus {
        tenant_id: info.tenant.to_string(),
        timeline_id: info.timeline.to_string(),
        pg_version: info.version.major(),
        system_identifier: info.system_identifier.to_string(),
        pg_timeline: info.pg_timeline,
        ancestor_timeline_id: info.ancestor.map(|(timeline, _)| timeline.to_string()),
        ancestor_lsn: info.ancestor.map(|(_, lsn)| lsn),
        oldest_lsn: progress.readable_from,
        history_bytes: windows.bytes,
        history_seconds: windows.time.map(|time| time.as_secs()),
        leases: leases.into_iter().map(maintain::lease_done).collect(),
        last_record_lsn: progress.last_record,
        flush_lsn: progress.synced,
        disk_consistent_lsn: progress.disk_consistent,
        remote_consistent_lsn: None,
        runs: sizes.runs,
        layers: sizes.layers,
        layer_bytes: sizes.layer_bytes,
        wal_bytes: sizes.wal_bytes,
        upstream: timeline.upstream().map(|upstream| UpstreamState {
            conninfo: upstream.conninfo,
            slot: upstream.slot,
        }),
        replaces: info.replaces.map(|timeline| timeline.to_string()),
        superseded: info.superseded.map(|superseded| SupersededState {
            by: superseded.by.to_string(),
            fork_lsn: superseded.fork,
        }),
        receiver: receiver.map(|receiver| receiver_state(&receiver)),
        failure: timeline.failure().map(|failure| failure.to_string()),
        refused: None,
        damage: timeline.damage().iter().map(ToString::to_string).collect(),
        reads: reads(&timeline.read_counts()),
        name: info.name,
    }
}

fn receiver_state(receiver: &ReceiverStatus) -> ReceiverState {
    let status = receiver.snapshot();
    ReceiverState {
        phase: format!("{:?}", status.phase).to_lowercase(),
        lag_bytes: status.lag_bytes(),
        server: status.server,
        server_end_lsn: status.server_end,
        caught_up: status.caught_up,
        last_error: status.last_error,
    }
}

impl StatusSource for StoreStatus {
    fn status(&self) -> ServerStatus {
        ServerStatus {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            listen_pg: self.listen_pg.to_string(),
            uptime_seconds: self.started.elapsed().as_secs(),
            timelines: self.store.timelines().len() as u64,
        }
    }

    fn tenants(&self) -> Vec<TenantStatus> {
        let mut tenants: Vec<TenantStatus> = Vec::new();
        let infos = self.store.timelines();
        let infos = infos.iter().map(Timeline::info);
        let mut names: Vec<(String, String)> = infos
            .map(|info| (info.tenant.to_string(), info.name))
            .chain(self.refused().into_iter().map(|it| (it.tenant_id, it.name)))
            .collect();
        names.sort();
        for (id, name) in names {
            match tenants.last_mut() {
                Some(last) if last.id == id => last.timelines.push(name),
                _ => tenants.push(TenantStatus {
                    id,
                    timelines: vec![name],
                }),
            }
        }
        tenants
    }

    fn timelines(&self, tenant: &str) -> Result<Vec<TimelineStatus>, SourceError> {
        let mut found: Vec<TimelineStatus> = self
            .store
            .timelines()
            .iter()
            .map(|timeline| self.describe(timeline))
            .chain(self.refused())
            .filter(|status| status.tenant_id == tenant || status.name == tenant)
            .collect();
        if found.is_empty() {
            let text = format!("there is no tenant {tenant:?}");
            return Err(SourceError::new(ErrorKind::NotFound, text));
        }
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    fn timeline(&self, tenant: &str, timeline: &str) -> Result<TimelineStatus, SourceError> {
        Ok(self.describe(&self.find(tenant, timeline)?))
    }

    fn checkpoint(&self, tenant: &str, timeline: &str) -> Result<CheckpointDone, SourceError> {
        past::checkpoint(&self.find(tenant, timeline)?)
    }

    fn checkout(
        &self,
        tenant: &str,
        timeline: &str,
        request: &CheckoutRequest,
    ) -> Result<serde_json::Value, SourceError> {
        let timeline = self.find(tenant, timeline)?;
        let dir = Path::new(&request.dir);
        if !dir.is_absolute() {
            let text = format!("{:?} is not an absolute path", request.dir);
            return Err(SourceError::new(ErrorKind::Invalid, text));
        }
        let job = CheckoutJob {
            dir: dir.to_owned(),
            lsn: request.lsn,
            keep_config: request.keep_config,
            tablespace_mapping: Vec::new(),
            port: request.port,
        };
        let done = checkout(&self.store, &timeline, &job, &mut |_| {}, &self.log)
            .map_err(|error| SourceError::new(ErrorKind::Invalid, format!("{error:#}")))?;
        serde_json::to_value(done).map_err(|error| SourceError::new(ErrorKind::Internal, error))
    }

    fn metrics(&self, out: &mut String) {
        let refused = self.store.refused().len();
        let _ = writeln!(out, "zenith_timelines_refused {refused}");
        for timeline in self.store.timelines() {
            let status = self.describe(&timeline);
            let labels = format!(
                "tenant_id=\"{}\",timeline_id=\"{}\"",
                status.tenant_id, status.timeline_id
            );
            let lag = status.receiver.as_ref().map_or(0, |r| r.lag_bytes);
            for (name, value) in [
                ("oldest_lsn", status.oldest_lsn.get()),
                ("last_record_lsn", status.last_record_lsn.get()),
                ("flush_lsn", status.flush_lsn.get()),
                ("disk_consistent_lsn", status.disk_consistent_lsn.get()),
                ("pg_timeline", u64::from(status.pg_timeline)),
                ("runs", status.runs),
                ("layers", status.layers),
                ("layer_bytes", status.layer_bytes),
                ("wal_bytes", status.wal_bytes),
                ("receiver_lag_bytes", lag),
                ("leases", status.leases.len() as u64),
                ("damaged_layers", status.damage.len() as u64),
            ] {
                let _ = writeln!(out, "zenith_timeline_{name}{{{labels}}} {value}");
            }
            write_waits(out, &labels, &timeline.indexing_waits());
            let counts = timeline.read_counts();
            write_histogram(out, "read_layers", &labels, &counts.layers);
            write_histogram(out, "read_records", &labels, &counts.records);
        }
    }
}

/// How a timeline that could not be opened is listed: by what can be told of it.
pub fn refused_status(refused: &Refused) -> Option<TimelineStatus> {
    let id = refused.timeline?.to_string();
    Some(TimelineStatus {
        tenant_id: refused.tenant.to_string(),
        name: refused.name.clone().unwrap_or_else(|| id.clone()),
        timeline_id: id,
        refused: Some(refused.reason.to_string()),
        pg_version: 0,
        system_identifier: String::new(),
        pg_timeline: 0,
        ancestor_timeline_id: None,
        ancestor_lsn: None,
        oldest_lsn: Lsn::INVALID,
        history_bytes: None,
        history_seconds: None,
        leases: Vec::new(),
        last_record_lsn: Lsn::INVALID,
        flush_lsn: Lsn::INVALID,
        disk_consistent_lsn: Lsn::INVALID,
        remote_consistent_lsn: None,
        runs: 0,
        layers: 0,
        layer_bytes: 0,
        wal_bytes: 0,
        upstream: None,
        replaces: None,
        superseded: None,
        receiver: None,
        failure: None,
        damage: Vec::new(),
        reads: ReadState::default(),
    })
}

fn reads(counts: &ReadCounts) -> ReadState {
    ReadState {
        pages: counts.layers.count(),
        layers_p50: counts.layers.quantile(0.5),
        layers_p99: counts.layers.quantile(0.99),
        records_p50: counts.records.quantile(0.5),
        records_p99: counts.records.quantile(0.99),
    }
}

fn write_waits(out: &mut String, labels: &str, waits: &IndexingWaits) {
    let name = "zenith_timeline_indexing_wait_seconds_total";
    let _ = writeln!(out, "# TYPE {name} counter");
    for (what, waited) in [("layers", waits.layers), ("compaction", waits.compaction)] {
        let seconds = waited.as_secs_f64();
        let _ = writeln!(out, "{name}{{{labels},for=\"{what}\"}} {seconds}");
    }
}

fn write_histogram(out: &mut String, name: &str, labels: &str, histogram: &Histogram) {
    let name = format!("zenith_timeline_{name}");
    let _ = writeln!(out, "# TYPE {name} histogram");
    let mut total = 0;
    for (bound, count) in histogram.buckets() {
        total += count;
        let bound = bound.map_or("+Inf".to_owned(), |bound| bound.to_string());
        let _ = writeln!(out, "{name}_bucket{{{labels},le=\"{bound}\"}} {total}");
    }
    let _ = writeln!(out, "{name}_sum{{{labels}}} {}", histogram.sum());
    let _ = writeln!(out, "{name}_count{{{labels}}} {total}");
}

impl HistorySource for StoreStatus {
    fn lsn_of_time(
        &self,
        tenant: &str,
        timeline: &str,
        time: &str,
    ) -> Result<LsnOfTime, SourceError> {
        let moment: Moment = time
            .parse()
            .map_err(|error| SourceError::new(ErrorKind::Invalid, error))?;
        past::lsn_of_time(&self.find(tenant, timeline)?, moment)
    }

    fn time_of_lsn(
        &self,
        tenant: &str,
        timeline: &str,
        lsn: Option<Lsn>,
    ) -> Result<TimeOfLsn, SourceError> {
        past::time_of_lsn(&self.find(tenant, timeline)?, lsn)
    }

    fn page_history(
        &self,
        tenant: &str,
        timeline: &str,
        request: HistoryRequest,
    ) -> Result<PageHistory, SourceError> {
        past::page_history(&self.find(tenant, timeline)?, request)
    }

    fn verify(
        &self,
        tenant: &str,
        timeline: &str,
        lsn: Option<Lsn>,
    ) -> Result<VerifyDone, SourceError> {
        past::verify(&self.find(tenant, timeline)?, lsn, &mut |_, _, _| {})
    }
}

impl MaintenanceSource for StoreStatus {
    fn branch(&self, tenant: &str, request: &BranchRequest) -> Result<TimelineStatus, SourceError> {
        let ancestor = self.find(tenant, &request.ancestor)?;
        let made = maintain::branch(&self.store, &ancestor, &request.name, request.lsn)?;
        Ok(self.describe(&made))
    }

    fn delete(&self, tenant: &str, timeline: &str) -> Result<DeleteDone, SourceError> {
        let timeline = self.find(tenant, timeline)?;
        self.must_not_be_of_command_line(&timeline)?;
        // Before anything is stopped for nothing.
        maintain::check_deletable(&timeline)?;
        self.receivers.stop_one(timeline.info().timeline);
        maintain::delete(&self.store, &timeline)
    }

    fn follow(
        &self,
        tenant: &str,
        timeline: &str,
        request: &FollowRequest,
    ) -> Result<TimelineStatus, SourceError> {
        let timeline = self.find(tenant, timeline)?;
        let _one = self.telling.lock().unwrap_or_else(PoisonError::into_inner);
        let info = timeline.info();
        if self.receivers.status_of(info.timeline).is_some() {
            let text = format!(
                "{:?} follows a primary already: let it unfollow that first",
                info.name
            );
            return Err(SourceError::new(ErrorKind::Invalid, text));
        }
        let feed = maintain::tell(&timeline, request, &self.log)?;
        self.receivers
            .start(&timeline, &feed)
            .map_err(|error| SourceError::new(ErrorKind::Internal, error))?;
        Ok(self.describe(&timeline))
    }

    fn unfollow(&self, tenant: &str, timeline: &str) -> Result<TimelineStatus, SourceError> {
        let timeline = self.find(tenant, timeline)?;
        self.must_not_be_of_command_line(&timeline)?;
        let _one = self.telling.lock().unwrap_or_else(PoisonError::into_inner);
        maintain::untell(&timeline)?;
        self.receivers.stop_one(timeline.info().timeline);
        Ok(self.describe(&timeline))
    }

    fn compact(
        &self,
        tenant: &str,
        timeline: &str,
        full: bool,
    ) -> Result<CompactDone, SourceError> {
        maintain::compact(&self.find(tenant, timeline)?, full)
    }

    fn gc(&self, tenant: &str, timeline: &str, cutoff: Option<Lsn>) -> Result<GcDone, SourceError> {
        maintain::gc(&self.store, &self.find(tenant, timeline)?, cutoff)
    }

    fn lease(
        &self,
        tenant: &str,
        timeline: &str,
        request: LeaseRequest,
    ) -> Result<LeaseDone, SourceError> {
        let length = Duration::from_secs(request.seconds);
        let lease = maintain::lease(&self.find(tenant, timeline)?, request.lsn, length)?;
        Ok(maintain::lease_done(lease))
    }
}

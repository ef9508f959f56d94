//! `pageserver status`

use std::time::Duration;

use anyhow::Result;
use pageservice::http::{TenantStatus, TimelineStatus};
use slog::Logger;

use super::client::Server;
use super::{answer, open_offline};
use crate::cli;
use crate::follow::EXAMINE_LIMIT;
use crate::maintain::period;
use crate::status::{describe, refused_status};

/// Shows the timelines of a running server, or of a data directory.
///
/// # Errors
/// If the server does not answer, or the directory cannot be opened.
pub fn status(args: &cli::Status, log: &Logger) -> Result<()> {
    let timelines = all_timelines(&args.ask.server, log)?;
    if args.ask.json {
        answer(&serde_json::to_string_pretty(&timelines)?);
        return Ok(());
    }
    for timeline in &timelines {
        show(timeline);
    }
    Ok(())
}

/// All timelines of a server or a data directory.
pub(super) fn all_timelines(server: &cli::Server, log: &Logger) -> Result<Vec<TimelineStatus>> {
    let mut all = Vec::new();
    match &server.data_dir {
        None => {
            let server = Server::new(&server.server);
            for tenant in server.get::<Vec<TenantStatus>>("/v1/tenant")? {
                let path = format!("/v1/tenant/{}/timeline", tenant.id);
                all.extend(server.get::<Vec<TimelineStatus>>(&path)?);
            }
        }
        Some(dir) => {
            let store = open_offline(dir, log)?;
            for timeline in store.timelines() {
                timeline.wait_examined(EXAMINE_LIMIT)?;
                all.push(describe(&timeline, None));
            }
            all.extend(store.refused().iter().filter_map(refused_status));
        }
    }
    Ok(all)
}

fn show(timeline: &TimelineStatus) {
    if let Some(reason) = &timeline.refused {
        answer(&format!(
            "timeline {} ({}) of tenant {}\n  REFUSED         {reason}",
            timeline.name, timeline.timeline_id, timeline.tenant_id
        ));
        return;
    }
    answer(&format!(
        "timeline {} ({}) of tenant {}, PostgreSQL {} on its timeline {}",
        timeline.name,
        timeline.timeline_id,
        timeline.tenant_id,
        timeline.pg_version,
        timeline.pg_timeline
    ));
    let remote = timeline
        .remote_consistent_lsn
        .map_or("none".to_owned(), |lsn| lsn.to_string());
    answer(&format!(
        "  readable        {} to {}",
        timeline.oldest_lsn, timeline.last_record_lsn
    ));
    answer(&format!("  window          {}", window(timeline)));
    for lease in &timeline.leases {
        answer(&format!(
            "  lease           {} until {}",
            lease.lsn, lease.valid_until
        ));
    }
    answer(&format!(
        "  durable         {} received, {} in layers, remote {remote}",
        timeline.flush_lsn, timeline.disk_consistent_lsn
    ));
    answer(&format!(
        "  on disk         {} layers in {} runs, {:.1} MB; WAL {:.1} MB",
        timeline.layers,
        timeline.runs,
        timeline.layer_bytes as f64 / 1e6,
        timeline.wal_bytes as f64 / 1e6
    ));
    if let Some(failure) = &timeline.failure {
        answer(&format!("  FAILED          {failure}"));
    }
    if let Some(superseded) = &timeline.superseded {
        answer(&format!(
            "  read-only       the primary's failover left it at {}; timeline {} took its name and goes on from there",
            superseded.fork_lsn, superseded.by
        ));
        return;
    }
    if let (Some(replaced), Some(lsn)) = (&timeline.replaces, timeline.ancestor_lsn) {
        answer(&format!(
            "  failover        at {lsn}, below the end of what was received: all of that is kept in timeline {replaced}"
        ));
    }
    match &timeline.receiver {
        Some(receiver) => answer(&format!(
            "  primary         {}, {}, {} bytes behind{}",
            receiver.server.as_deref().unwrap_or("not connected"),
            receiver.phase,
            receiver.lag_bytes,
            receiver
                .last_error
                .as_ref()
                .map_or(String::new(), |error| format!("; last error: {error}"))
        )),
        None => match &timeline.upstream {
            Some(upstream) => answer(&format!(
                "  primary         {:?} with slot {}, when the server runs",
                upstream.conninfo, upstream.slot
            )),
            None => answer("  primary         none is followed"),
        },
    }
    let reads = &timeline.reads;
    if let (Some(layers), Some(records)) = (reads.layers_p99, reads.records_p99) {
        answer(&format!(
            "  reads           {} pages; for 99 % of them at most {layers} layer files and {records} records",
            reads.pages
        ));
    }
    for damage in &timeline.damage {
        answer(&format!("  DAMAGED         {damage}"));
    }
    if let Some(failure) = &timeline.failure {
        answer(&format!("  FAILED          {failure}"));
    }
}

/// How much of its history a timeline keeps.
fn window(timeline: &TimelineStatus) -> String {
    let bytes = timeline.history_bytes;
    let bytes = bytes.map(|bytes| format!("the last {} MiB of WAL", bytes >> 20));
    let time = timeline.history_seconds.map(Duration::from_secs);
    let time = time.map(|time| format!("the last {}", period(time)));
    match (bytes, time) {
        (None, None) => "everything since the import".to_owned(),
        (Some(one), None) | (None, Some(one)) => one,
        (Some(bytes), Some(time)) => format!("{bytes} or {time}, whichever reaches further back"),
    }
}

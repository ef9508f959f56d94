//! `pageserver status`

use std::time::Duration;

use anyhow::Result;
use pageservice::http::{TenantStatus, TimelineStatus};

use super::answer;
use super::client::Server;
use crate::cli::Status;
use crate::maintain::period;

/// Shows the timelines of a running server.
///
/// # Errors
/// If the server does not answer.
pub fn status(args: &Status) -> Result<()> {
    let server = Server::new(&args.server);
    let tenants: Vec<TenantStatus> = server.get("/v1/tenant")?;
    let mut timelines: Vec<TimelineStatus> = Vec::new();
    for tenant in tenants {
        let found: Vec<TimelineStatus> =
            server.get(&format!("/v1/tenant/{}/timeline", tenant.id))?;
        timelines.extend(found);
    }
    if args.json {
        answer(&serde_json::to_string_pretty(&timelines)?);
        return Ok(());
    }
    for timeline in &timelines {
        show(timeline);
    }
    Ok(())
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
        "  on disk         {} layers, {:.1} MB; WAL {:.1} MB",
        timeline.layers,
        timeline.layer_bytes as f64 / 1e6,
        timeline.wal_bytes as f64 / 1e6
    ));
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
        None => answer("  primary         none is followed"),
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

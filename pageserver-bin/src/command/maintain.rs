//! `pageserver compact`, `gc` and `timeline`: asked of a running server, or done to a data directory.

use anyhow::Result;
use pageservice::http::{
    BranchRequest, CompactDone, DeleteDone, GcDone, LeaseDone, LeaseRequest, TenantStatus,
    TimelineStatus,
};
use serde::Serialize;
use slog::Logger;
use walrecord::Lsn;

use super::client::Server;
use super::past::{Asked, json, position};
use super::{answer, open_offline, settled};
use crate::status::refused_status;
use crate::{cli, maintain};

/// `pageserver compact`
///
/// # Errors
/// If a layer cannot be read or written.
pub fn compact(args: &cli::Compact, log: &Logger) -> Result<()> {
    let done: CompactDone = match Asked::new(&args.server, &args.timeline, log)? {
        Asked::Server(server, base) => {
            server.post(&format!("{base}/compact?full={}", args.full), "")?
        }
        Asked::Files(files) => maintain::compact(&files.1, args.full)?,
    };
    if args.json {
        return json(&done);
    }
    if done.merges == 0 {
        answer("nothing to compact");
    } else {
        answer(&format!(
            "merged {} times: {} runs of layers became {}, {} files became {}, {:.1} MB became {:.1} MB",
            done.merges,
            done.runs_before,
            done.runs_after,
            done.layers_before,
            done.layers_after,
            done.bytes_before as f64 / 1e6,
            done.bytes_after as f64 / 1e6,
        ));
    }
    Ok(())
}

/// `pageserver gc`
///
/// # Errors
/// If the disk refuses.
pub fn gc(args: &cli::Gc, log: &Logger) -> Result<()> {
    let done: GcDone = match Asked::new(&args.server, &args.timeline, log)? {
        Asked::Server(server, base) => {
            let below = args
                .below
                .map_or(String::new(), |lsn| format!("?lsn={lsn}"));
            server.post(&format!("{base}/do_gc{below}"), "")?
        }
        Asked::Files(files) => maintain::gc(&files.0, &files.1, args.below)?,
    };
    if args.json {
        return json(&done);
    }
    answer(&format!(
        "every LSN from {} on is readable (before: from {}), held by {}; {:.1} MB of WAL removed",
        done.oldest_lsn,
        done.oldest_lsn_before,
        done.held_by,
        done.wal_bytes_removed as f64 / 1e6,
    ));
    for point in &done.points {
        answer(&format!("  and {}: {}", point.lsn, point.held_by));
    }
    Ok(())
}

/// A timeline, as `timeline list --json` shows one of a data directory.
#[derive(Serialize)]
struct Listed {
    tenant_id: String,
    timeline_id: String,
    name: String,
    ancestor_timeline_id: Option<String>,
    ancestor_lsn: Option<String>,
    oldest_lsn: String,
    last_record_lsn: String,
    layer_bytes: u64,
    wal_bytes: u64,
    /// Why it could not be opened.
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<String>,
    /// Damaged layer files.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    damage: Vec<String>,
}

impl From<TimelineStatus> for Listed {
    fn from(status: TimelineStatus) -> Listed {
        Listed {
            tenant_id: status.tenant_id,
            timeline_id: status.timeline_id,
            name: status.name,
            ancestor_timeline_id: status.ancestor_timeline_id,
            ancestor_lsn: status.ancestor_lsn.map(|lsn| lsn.to_string()),
            oldest_lsn: status.oldest_lsn.to_string(),
            last_record_lsn: status.last_record_lsn.to_string(),
            layer_bytes: status.layer_bytes,
            wal_bytes: status.wal_bytes,
            refused: status.refused,
            damage: status.damage,
        }
    }
}

/// `pageserver timeline list`
///
/// # Errors
/// If the server or the directory cannot be asked.
pub fn timeline_list(args: &cli::TimelineList, log: &Logger) -> Result<()> {
    let mut all: Vec<Listed> = Vec::new();
    match &args.server.data_dir {
        None => {
            let server = Server::new(&args.server.server);
            for tenant in server.get::<Vec<TenantStatus>>("/v1/tenant")? {
                let path = format!("/v1/tenant/{}/timeline", tenant.id);
                let timelines: Vec<TimelineStatus> = server.get(&path)?;
                all.extend(timelines.into_iter().map(Listed::from));
            }
        }
        Some(dir) => {
            let store = open_offline(dir, log)?;
            for timeline in store.timelines() {
                timeline.wait_examined(crate::follow::EXAMINE_LIMIT)?;
                all.push(listed(&timeline));
            }
            let refused = store.refused().iter().filter_map(refused_status);
            all.extend(refused.map(Listed::from));
        }
    }
    if args.json {
        return json(&all);
    }
    for one in &all {
        if let Some(reason) = &one.refused {
            answer(&format!(
                "{}  {}  REFUSED: {reason}",
                one.name, one.timeline_id
            ));
            continue;
        }
        let ancestor = one.ancestor_timeline_id.as_ref().map(|id| {
            let found = all.iter().find(|other| other.timeline_id == *id);
            found.map_or(id, |other| &other.name)
        });
        let branch = match (ancestor, &one.ancestor_lsn) {
            (Some(ancestor), Some(lsn)) => format!("  branch of {ancestor} at {lsn}"),
            _ => String::new(),
        };
        let damaged = match one.damage.len() {
            0 => String::new(),
            count => format!("  {count} layers DAMAGED"),
        };
        answer(&format!(
            "{}  {}  {} to {}  {:.1} MB layers, {:.1} MB WAL{branch}{damaged}",
            one.name,
            one.timeline_id,
            one.oldest_lsn,
            one.last_record_lsn,
            one.layer_bytes as f64 / 1e6,
            one.wal_bytes as f64 / 1e6,
        ));
    }
    Ok(())
}

fn listed(timeline: &pagecache::Timeline) -> Listed {
    let (info, progress, sizes) = (timeline.info(), timeline.progress(), timeline.sizes());
    Listed {
        tenant_id: info.tenant.to_string(),
        timeline_id: info.timeline.to_string(),
        name: info.name,
        ancestor_timeline_id: info.ancestor.map(|(id, _)| id.to_string()),
        ancestor_lsn: info.ancestor.map(|(_, lsn)| lsn.to_string()),
        oldest_lsn: progress.readable_from.to_string(),
        last_record_lsn: progress.last_record.to_string(),
        layer_bytes: sizes.layer_bytes,
        wal_bytes: sizes.wal_bytes,
        refused: None,
        damage: timeline.damage().iter().map(ToString::to_string).collect(),
    }
}

/// `pageserver timeline branch`
///
/// # Errors
/// If the name is taken or none, or the LSN is not readable.
pub fn timeline_branch(args: &cli::TimelineBranch, log: &Logger) -> Result<()> {
    let lsn = position(&args.at, &args.from, &args.server, log)?;
    let made: Listed = match &args.server.data_dir {
        None => {
            let server = Server::new(&args.server.server);
            let request = BranchRequest {
                name: args.name.clone(),
                ancestor: args.from.clone(),
                lsn,
            };
            let path = format!("/v1/tenant/{}/timeline", args.from);
            let made: TimelineStatus = server.post(&path, &serde_json::to_string(&request)?)?;
            made.into()
        }
        Some(dir) => {
            let store = open_offline(dir, log)?;
            let from = settled(&store, &args.from)?;
            listed(&maintain::branch(&store, &from, &args.name, lsn)?)
        }
    };
    if args.json {
        return json(&made);
    }
    let lsn: Lsn = made.last_record_lsn.parse()?;
    answer(&format!(
        "{} ({}) branches from {} at {lsn}",
        made.name, made.timeline_id, args.from
    ));
    Ok(())
}

/// `pageserver timeline delete`
///
/// # Errors
/// If others branch from it, or a primary is followed into it.
pub fn timeline_delete(args: &cli::TimelineDelete, log: &Logger) -> Result<()> {
    let done: DeleteDone = match Asked::new(&args.server, &args.name, log)? {
        Asked::Server(server, base) => server.delete(&base)?,
        Asked::Files(files) => maintain::delete(&files.0, &files.1)?,
    };
    if args.json {
        return json(&done);
    }
    answer(&format!("timeline {} is deleted", done.deleted));
    Ok(())
}

/// `pageserver timeline lease`
///
/// # Errors
/// If the LSN is not readable, the time too long, or too many LSNs are held.
pub fn timeline_lease(args: &cli::TimelineLease, log: &Logger) -> Result<()> {
    let held: LeaseDone = match Asked::new(&args.server, &args.name, log)? {
        Asked::Server(server, base) => {
            let request = LeaseRequest {
                lsn: args.lsn,
                seconds: args.length.as_secs().max(1),
            };
            let body = serde_json::to_string(&request)?;
            server.post(&format!("{base}/lsn_lease"), &body)?
        }
        Asked::Files(files) => {
            maintain::lease_done(maintain::lease(&files.1, args.lsn, args.length)?)
        }
    };
    if args.json {
        return json(&held);
    }
    answer(&format!("{} is held until {}", held.lsn, held.valid_until));
    Ok(())
}

//! `pageserver compact`, `gc` and `timeline`: asked of a running server, or done to a data directory.

use anyhow::Result;
use pageservice::http::{
    BranchRequest, CompactDone, DeleteDone, FollowRequest, GcDone, LeaseDone, LeaseRequest,
    TimelineStatus, UpstreamState,
};
use slog::Logger;

use super::client::Server;
use super::past::{Asked, json, position};
use super::status::all_timelines;
use super::{answer, open_offline, settled};
use crate::status::describe;
use crate::{cli, maintain};

/// `pageserver compact`
///
/// # Errors
/// If a layer cannot be read or written.
pub fn compact(args: &cli::Compact, log: &Logger) -> Result<()> {
    let done: CompactDone = match Asked::new(&args.of.ask.server, &args.of.timeline, log)? {
        Asked::Server(server, base) => {
            server.post(&format!("{base}/compact?full={}", args.full), "")?
        }
        Asked::Files(files) => maintain::compact(&files.1, args.full)?,
    };
    if args.of.ask.json {
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
    if done.damaged_layers > 0 {
        answer(&format!(
            "{} damaged files were left as they are (pageserver verify names them)",
            done.damaged_layers
        ));
    }
    Ok(())
}

/// `pageserver gc`
///
/// # Errors
/// If the disk refuses.
pub fn gc(args: &cli::Gc, log: &Logger) -> Result<()> {
    let done: GcDone = match Asked::new(&args.of.ask.server, &args.of.timeline, log)? {
        Asked::Server(server, base) => {
            let below = args
                .below
                .map_or(String::new(), |lsn| format!("?lsn={lsn}"));
            server.post(&format!("{base}/do_gc{below}"), "")?
        }
        Asked::Files(files) => maintain::gc(&files.0, &files.1, args.below)?,
    };
    if args.of.ask.json {
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

/// `pageserver timeline list`
///
/// # Errors
/// If the server or the directory cannot be asked.
pub fn timeline_list(args: &cli::TimelineList, log: &Logger) -> Result<()> {
    let all = all_timelines(&args.ask.server, log)?;
    if args.ask.json {
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
        let kept = match one.superseded {
            Some(_) => "  read-only",
            None => "",
        };
        answer(&format!(
            "{}  {}  {} to {}  {:.1} MB layers, {:.1} MB WAL{branch}{kept}{damaged}",
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

/// `pageserver timeline branch`
///
/// # Errors
/// If the name is taken or none, or the LSN is not readable.
pub fn timeline_branch(args: &cli::TimelineBranch, log: &Logger) -> Result<()> {
    let lsn = position(&args.at, &args.from, &args.ask.server, log)?;
    let made: TimelineStatus = match &args.ask.server.data_dir {
        None => {
            let server = Server::new(&args.ask.server.server);
            let request = BranchRequest {
                name: args.name.clone(),
                ancestor: args.from.clone(),
                lsn,
            };
            let path = format!("/v1/tenant/{}/timeline", args.from);
            server.post(&path, &serde_json::to_string(&request)?)?
        }
        Some(dir) => {
            let store = open_offline(dir, log)?;
            let from = settled(&store, &args.from)?;
            let made = maintain::branch(&store, &from, &args.name, lsn)?;
            describe(&made, None)
        }
    };
    if args.ask.json {
        return json(&made);
    }
    answer(&format!(
        "{} ({}) branches from {} at {}",
        made.name, made.timeline_id, args.from, made.last_record_lsn
    ));
    Ok(())
}

/// `pageserver timeline follow`
///
/// # Errors
/// If the server is no primary for the timeline, or cannot be asked.
pub fn timeline_follow(args: &cli::TimelineFollow, log: &Logger) -> Result<()> {
    let request = FollowRequest {
        conninfo: args.primary.clone(),
        slot: args.slot.as_ref().map(ToString::to_string),
    };
    let (told, when): (TimelineStatus, _) = match Asked::new(&args.ask.server, &args.name, log)? {
        Asked::Server(server, base) => {
            let path = format!("{base}/follow");
            let told = server.post(&path, &serde_json::to_string(&request)?)?;
            (told, "from now on")
        }
        Asked::Files(files) => {
            maintain::tell(&files.1, &request, log)?;
            (describe(&files.1, None), "when the server runs")
        }
    };
    if args.ask.json {
        return json(&told);
    }
    if let Some(UpstreamState { conninfo, slot }) = &told.upstream {
        answer(&format!(
            "{} follows {conninfo:?} {when}, from {} on, with slot {slot}",
            told.name, told.last_record_lsn
        ));
    }
    Ok(())
}

/// `pageserver timeline unfollow`
///
/// # Errors
/// If the timeline follows the primary of the server's command line.
pub fn timeline_unfollow(args: &cli::TimelineName, log: &Logger) -> Result<()> {
    let told: TimelineStatus = match Asked::new(&args.ask.server, &args.name, log)? {
        Asked::Server(server, base) => server.delete(&format!("{base}/follow"))?,
        Asked::Files(files) => {
            maintain::untell(&files.1)?;
            describe(&files.1, None)
        }
    };
    if args.ask.json {
        return json(&told);
    }
    answer(&format!("{} follows no primary", told.name));
    Ok(())
}

/// `pageserver timeline delete`
///
/// # Errors
/// If others branch from it, or a primary is followed into it.
pub fn timeline_delete(args: &cli::TimelineName, log: &Logger) -> Result<()> {
    let done: DeleteDone = match Asked::new(&args.ask.server, &args.name, log)? {
        Asked::Server(server, base) => server.delete(&base)?,
        Asked::Files(files) => maintain::delete(&files.0, &files.1)?,
    };
    if args.ask.json {
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
    let held: LeaseDone = match Asked::new(&args.ask.server, &args.name, log)? {
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
    if args.ask.json {
        return json(&held);
    }
    answer(&format!("{} is held until {}", held.lsn, held.valid_until));
    Ok(())
}

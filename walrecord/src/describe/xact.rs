//! Descriptions of Transaction records (access/rmgrdesc/xactdesc.c). 15 added dropped statistics,
//! `apply_feedback`, and the origin of aborts and prepares.

use crate::describe::Text;
use crate::describe::path::path;
use crate::describe::standby::describe_invalidations;
use crate::record::Record;
use crate::rmgr::standby::Invalidations;
use crate::rmgr::xact::{DroppedStats, Prepare, XactEnd, XactOrigin, XactRecord};
use crate::rmgr::{BodyError, LeArray};
use crate::types::{ForkNumber, PgVersion, RelFileLocator, Xid};

pub(super) fn describe(record: &Record<'_>, out: &mut Text) -> Result<(), BodyError> {
    match XactRecord::decode(record)? {
        XactRecord::Commit(end) | XactRecord::CommitPrepared(end) => {
            describe_commit(&end, record, out);
        }
        XactRecord::Abort(end) | XactRecord::AbortPrepared(end) => {
            describe_abort(&end, record, out);
        }
        XactRecord::Prepare(prepare) => describe_prepare(&prepare, record, out),
        XactRecord::Assignment(assignment) => {
            out.str("xtop ").dec(assignment.top_xid).str(": subxacts:");
            list_xids(assignment.subxids, out);
        }
        XactRecord::Invalidations(messages) => {
            let invalidations = Invalidations {
                messages,
                db: 0,
                spc: 0,
                init_file: false,
            };
            describe_invalidations(&invalidations, out);
        }
    }
    Ok(())
}

fn describe_commit(end: &XactEnd<'_>, record: &Record<'_>, out: &mut Text) {
    let version = record.version;
    describe_end(end, version, out);
    describe_stats("", end.dropped_stats, out);
    let invalidations = Invalidations {
        messages: end.invalidations,
        db: end.database.map_or(0, |database| database.db),
        spc: end.database.map_or(0, |database| database.spc),
        init_file: end.updates_relcache_file(),
    };
    describe_invalidations(&invalidations, out);
    if end.applies_feedback() && version >= PgVersion::V15 {
        out.str("; apply_feedback");
    }
    if end.forces_sync() {
        out.str("; sync");
    }
    if let Some(origin) = &end.origin {
        describe_origin(origin, record, out);
    }
}

fn describe_abort(end: &XactEnd<'_>, record: &Record<'_>, out: &mut Text) {
    describe_end(end, record.version, out);
    if record.version >= PgVersion::V15 {
        if let Some(origin) = &end.origin {
            describe_origin(origin, record, out);
        }
        describe_stats("", end.dropped_stats, out);
    }
}

/// What commits and aborts begin with. The transaction is only told if it is not the record's own.
fn describe_end(end: &XactEnd<'_>, version: PgVersion, out: &mut Text) {
    if let Some(two_phase) = end.two_phase.filter(|prepared| prepared.xid != 0) {
        out.dec(two_phase.xid).str(": ");
    }
    out.time(end.time);
    describe_relations("rels", end.dropped_relations, version, out);
    describe_subxids(end.subxids, out);
}

fn describe_prepare(prepare: &Prepare<'_>, record: &Record<'_>, out: &mut Text) {
    let version = record.version;
    out.str("gid ").c_str(prepare.gid).str(": ");
    out.time(prepare.prepared_at);
    describe_relations("rels(commit)", prepare.commit_relations, version, out);
    describe_relations("rels(abort)", prepare.abort_relations, version, out);
    describe_stats("commit ", prepare.commit_stats, out);
    describe_stats("abort ", prepare.abort_stats, out);
    describe_subxids(prepare.subxids, out);
    let invalidations = Invalidations {
        messages: prepare.invalidations,
        db: prepare.db,
        spc: 0,
        init_file: prepare.init_file,
    };
    describe_invalidations(&invalidations, out);
    let replicated = record.origin.is_some_and(|origin| origin != 0);
    if replicated && version >= PgVersion::V15 {
        describe_origin(&prepare.origin, record, out);
    }
}

fn describe_relations(
    label: &str,
    relations: LeArray<'_, RelFileLocator>,
    version: PgVersion,
    out: &mut Text,
) {
    if relations.is_empty() {
        return;
    }
    out.str("; ").str(label).byte(b':');
    for rel in relations {
        out.byte(b' ');
        path(out, rel, ForkNumber::Main, version);
    }
}

fn describe_subxids(subxids: LeArray<'_, Xid>, out: &mut Text) {
    if !subxids.is_empty() {
        out.str("; subxacts:");
        list_xids(subxids, out);
    }
}

fn list_xids(xids: LeArray<'_, Xid>, out: &mut Text) {
    for xid in xids {
        out.byte(b' ').dec(xid);
    }
}

fn describe_stats(label: &str, stats: DroppedStats<'_>, out: &mut Text) {
    let mut entries = stats.iter().peekable();
    if entries.peek().is_some() {
        out.str("; ").str(label).str("dropped stats:");
    }
    for entry in entries {
        out.byte(b' ').signed(entry.kind);
        out.byte(b'/').dec(entry.db).byte(b'/').dec(entry.object);
    }
}

fn describe_origin(origin: &XactOrigin, record: &Record<'_>, out: &mut Text) {
    out.str("; origin: node ").dec(record.origin.unwrap_or(0));
    out.str(", lsn ").lsn(origin.lsn, false);
    out.str(", at ").time(origin.time);
}

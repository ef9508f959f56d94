//! Descriptions of Heap2 records (`heap2_desc`, access/rmgrdesc/heapdesc.c). 16 gave them new words
//! and the content of blocks' data, 17 merged three of them.

use super::fields::{Fields, Style, flag_byte, has_block_data};
use super::heap::{named_lock, terse_lock};
use crate::describe::Text;
use crate::record::Record;
use crate::rmgr::BodyError;
use crate::rmgr::heap2::{
    Freeze, FrozenTuples, Heap2Record, MultiInsert, NewCid, Prune, PruneFreeze, Redirect, Vacuum,
};
use crate::types::PgVersion;

pub(super) fn describe(record: &Record<'_>, out: &mut Text) -> Result<(), BodyError> {
    let heap2 = Heap2Record::decode(record)?;
    if record.version < PgVersion::V16 {
        describe_terse(&heap2, out);
        return Ok(());
    }
    let fields = &mut Fields::new(out, Style::COLON);
    match heap2 {
        Heap2Record::Rewrite(_) => {}
        Heap2Record::Prune(prune) => named_prune(fields, &prune, record)?,
        Heap2Record::Vacuum(vacuum) => named_vacuum(fields, &vacuum, record)?,
        Heap2Record::Freeze(freeze) => named_freeze(fields, &freeze, record)?,
        Heap2Record::PruneFreeze(prune) => prune_freeze(fields, &prune, record)?,
        Heap2Record::Visible(visible) => {
            fields
                .dec(HORIZON, visible.horizon)
                .byte("flags", visible.flags);
        }
        Heap2Record::MultiInsert(insert) => named_multi_insert(fields, &insert, record),
        Heap2Record::LockUpdated(lock) => named_lock(fields, &lock),
        Heap2Record::NewCid(new_cid) => {
            fields.relation("rel", new_cid.rel).tid("tid", new_cid.tid);
            commands(fields, &new_cid);
        }
    }
    Ok(())
}

const HORIZON: &str = "snapshotConflictHorizon";

/// 14 and 15.
fn describe_terse(heap2: &Heap2Record<'_>, out: &mut Text) {
    match heap2 {
        // The last belongs to newer versions.
        Heap2Record::Rewrite(_) | Heap2Record::PruneFreeze(_) => {}
        Heap2Record::Prune(prune) => {
            Fields::new(out, Style::SPACE)
                .dec("latestRemovedXid", prune.horizon)
                .dec("nredirected", prune.redirected)
                .dec("ndead", prune.dead);
        }
        Heap2Record::Vacuum(vacuum) => {
            out.str("nunused ").dec(vacuum.unused);
        }
        Heap2Record::Freeze(freeze) => {
            out.str("cutoff xid ").dec(freeze.horizon);
            out.str(" ntuples ").dec(freeze.count);
        }
        Heap2Record::Visible(visible) => {
            out.str("cutoff xid ").dec(visible.horizon).str(" flags ");
            flag_byte(out, visible.flags);
        }
        Heap2Record::MultiInsert(insert) => {
            out.dec(insert.tuple_count).str(" tuples flags ");
            flag_byte(out, insert.flags);
        }
        Heap2Record::LockUpdated(lock) => terse_lock(out, lock, "xmax"),
        Heap2Record::NewCid(new_cid) => {
            Fields::new(out, Style::SEMICOLON)
                .relation("rel", new_cid.rel)
                .tid("tid", new_cid.tid);
            out.str("; ");
            commands(&mut Fields::new(out, Style::COLON), new_cid);
        }
    }
}

fn named_prune(
    fields: &mut Fields<'_>,
    prune: &Prune,
    record: &Record<'_>,
) -> Result<(), BodyError> {
    fields
        .dec(HORIZON, prune.horizon)
        .dec("nredirected", prune.redirected)
        .dec("ndead", prune.dead);
    if has_block_data(record) {
        let offsets = prune.offsets(record)?;
        fields
            .dec("nunused", offsets.unused.len() as u64)
            .list("redirected", offsets.redirected, redirect)
            .offsets("dead", offsets.dead)
            .offsets("unused", offsets.unused);
    }
    Ok(())
}

fn named_vacuum(
    fields: &mut Fields<'_>,
    vacuum: &Vacuum,
    record: &Record<'_>,
) -> Result<(), BodyError> {
    fields.dec("nunused", vacuum.unused);
    if has_block_data(record) {
        fields.offsets("unused", vacuum.offsets(record)?);
    }
    Ok(())
}

fn named_freeze(
    fields: &mut Fields<'_>,
    freeze: &Freeze,
    record: &Record<'_>,
) -> Result<(), BodyError> {
    fields
        .dec(HORIZON, freeze.horizon)
        .dec("nplans", freeze.count);
    if has_block_data(record) {
        plans(fields, &freeze.tuples(record)?);
    }
    Ok(())
}

/// 17 and newer. The separator before the second value does not depend on there being a first.
fn prune_freeze(
    fields: &mut Fields<'_>,
    prune: &PruneFreeze,
    record: &Record<'_>,
) -> Result<(), BodyError> {
    match prune.horizon {
        Some(horizon) => {
            fields.dec(HORIZON, horizon);
        }
        None => fields.resume(),
    }
    fields.truth("isCatalogRel", prune.is_catalog());
    if !has_block_data(record) {
        return Ok(());
    }
    let data = prune.data(record)?;
    let offsets = &data.offsets;
    fields
        .dec("nplans", data.frozen.plans().len() as u64)
        .dec("nredirected", offsets.redirected.len() as u64)
        .dec("ndead", offsets.dead.len() as u64)
        .dec("nunused", offsets.unused.len() as u64);
    if !data.frozen.plans().is_empty() {
        plans(fields, &data.frozen);
    }
    if !offsets.redirected.is_empty() {
        fields.list("redirected", offsets.redirected, redirect);
    }
    if !offsets.dead.is_empty() {
        fields.offsets("dead", offsets.dead);
    }
    if !offsets.unused.is_empty() {
        fields.offsets("unused", offsets.unused);
    }
    Ok(())
}

fn named_multi_insert(fields: &mut Fields<'_>, insert: &MultiInsert<'_>, record: &Record<'_>) {
    fields
        .dec("ntuples", insert.tuple_count)
        .byte("flags", insert.flags);
    if has_block_data(record) && !insert.init_page {
        fields.offsets("offsets", insert.offsets);
    }
}

/// Each plan with the line pointers of its tuples (`plan_elem_desc`).
fn plans(fields: &mut Fields<'_>, frozen: &FrozenTuples<'_>) {
    let mut offsets = frozen.planned_offsets().iter();
    fields.list("plans", frozen.plans(), |out, plan| {
        out.str("{ ");
        let fields = &mut Fields::new(out, Style::COLON);
        fields
            .dec("xmax", plan.tuple.xmax)
            .dec("infomask", plan.tuple.infomask)
            .dec("infomask2", plan.tuple.infomask2)
            .dec("ntuples", plan.tuple_count);
        let tuples = offsets.by_ref().take(usize::from(plan.tuple_count));
        fields.list("offsets", tuples, |out, offset| {
            out.dec(offset);
        });
        out.str(" }");
    });
}

fn redirect(out: &mut Text, redirect: Redirect) {
    out.dec(redirect.from).str("->").dec(redirect.to);
}

fn commands(fields: &mut Fields<'_>, new_cid: &NewCid) {
    fields
        .dec("cmin", new_cid.cmin)
        .dec("cmax", new_cid.cmax)
        .dec("combo", new_cid.combocid);
}

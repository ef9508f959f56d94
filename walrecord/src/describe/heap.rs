//! Descriptions of Heap records (`heap_desc`, access/rmgrdesc/heapdesc.c). 16 gave them new words
//! and a new order.

use super::fields::{Fields, Style, flag_byte, list};
use super::standby;
use crate::describe::Text;
use crate::record::Record;
use crate::rmgr::BodyError;
use crate::rmgr::heap::{HeapRecord, InfoBits, Inplace, Lock, Truncate, Update};
use crate::types::PgVersion;

pub(super) fn describe(record: &Record<'_>, out: &mut Text) -> Result<(), BodyError> {
    let heap = HeapRecord::decode(record)?;
    if record.version >= PgVersion::V16 {
        describe_named(&heap, out);
    } else {
        describe_terse(&heap, out);
    }
    Ok(())
}

/// 14 and 15.
fn describe_terse(heap: &HeapRecord<'_>, out: &mut Text) {
    match heap {
        HeapRecord::Insert(insert) => {
            out.str("off ").dec(insert.offnum).str(" flags ");
            flag_byte(out, insert.flags);
        }
        HeapRecord::Delete(delete) => {
            out.str("off ").dec(delete.offnum).str(" flags ");
            flag_byte(out, delete.flags);
            terse_infobits(out, delete.infobits);
        }
        HeapRecord::Update(update) | HeapRecord::HotUpdate(update) => {
            out.str("off ").dec(update.old_offnum);
            out.str(" xmax ").dec(update.old_xmax).str(" flags ");
            flag_byte(out, update.flags);
            terse_infobits(out, update.old_infobits);
            out.str("; new off ").dec(update.new_offnum);
            out.str(" xmax ").dec(update.new_xmax);
        }
        HeapRecord::Truncate(truncate) => {
            if truncate.cascades() {
                out.str("cascade ");
            }
            if truncate.restarts_sequences() {
                out.str("restart_seqs ");
            }
            out.str("nrelids ").dec(truncate.relids.len() as u64);
            out.str(" relids");
            for relid in truncate.relids {
                out.byte(b' ').dec(relid);
            }
        }
        HeapRecord::Confirm(confirm) => {
            out.str("off ").dec(confirm.offnum);
        }
        HeapRecord::Lock(lock) => terse_lock(out, lock, "xid"),
        HeapRecord::Inplace(inplace) => {
            out.str("off ").dec(inplace.offnum);
        }
    }
}

/// 16 and newer.
fn describe_named(heap: &HeapRecord<'_>, out: &mut Text) {
    let fields = &mut Fields::new(out, Style::COLON);
    match heap {
        HeapRecord::Insert(insert) => {
            fields.dec("off", insert.offnum).byte("flags", insert.flags);
        }
        HeapRecord::Delete(delete) => {
            fields.dec("xmax", delete.xmax).dec("off", delete.offnum);
            infobits(fields, "infobits", delete.infobits);
            fields.byte("flags", delete.flags);
        }
        HeapRecord::Update(update) | HeapRecord::HotUpdate(update) => named_update(fields, update),
        HeapRecord::Truncate(truncate) => named_truncate(fields, truncate),
        HeapRecord::Confirm(confirm) => {
            fields.dec("off", confirm.offnum);
        }
        HeapRecord::Lock(lock) => named_lock(fields, lock),
        HeapRecord::Inplace(inplace) => named_inplace(out, inplace),
    }
}

fn named_update(fields: &mut Fields<'_>, update: &Update<'_>) {
    fields
        .dec("old_xmax", update.old_xmax)
        .dec("old_off", update.old_offnum);
    infobits(fields, "old_infobits", update.old_infobits);
    fields
        .byte("flags", update.flags)
        .dec("new_xmax", update.new_xmax)
        .dec("new_off", update.new_offnum);
}

fn named_truncate(fields: &mut Fields<'_>, truncate: &Truncate<'_>) {
    let flags = [
        (truncate.cascades(), "CASCADE"),
        (truncate.restarts_sequences(), "RESTART_SEQS"),
    ];
    set_flags(fields, "flags", flags);
    fields.dec("nrelids", truncate.relids.len() as u64).list(
        "relids",
        truncate.relids,
        |out, relid| {
            out.dec(relid);
        },
    );
}

fn named_inplace(out: &mut Text, inplace: &Inplace<'_>) {
    out.str("off: ").dec(inplace.offnum);
    if let Some(invalidations) = &inplace.invalidations {
        standby::describe_invalidations(invalidations, out);
    }
}

/// LOCK, and LOCK_UPDATED of Heap2, which calls the transaction by another name, in 14 and 15.
pub(super) fn terse_lock(out: &mut Text, lock: &Lock, xmax: &str) {
    out.str("off ").dec(lock.offnum).str(": ").str(xmax);
    out.byte(b' ').dec(lock.xmax).str(": flags ");
    flag_byte(out, lock.flags);
    terse_infobits(out, lock.infobits);
}

/// LOCK, and LOCK_UPDATED of Heap2, in 16 and newer.
pub(super) fn named_lock(fields: &mut Fields<'_>, lock: &Lock) {
    fields.dec("xmax", lock.xmax).dec("off", lock.offnum);
    infobits(fields, "infobits", lock.infobits);
    fields.byte("flags", lock.flags);
}

/// The names in front of which 14 and 15 put a space, and one behind the last (`out_infobits`).
fn terse_infobits(out: &mut Text, infobits: InfoBits) {
    out.byte(b' ');
    for (is_set, name) in infobit_names(infobits) {
        if is_set {
            out.str(name).byte(b' ');
        }
    }
}

fn infobits(fields: &mut Fields<'_>, name: &str, infobits: InfoBits) {
    set_flags(fields, name, infobit_names(infobits));
}

const fn infobit_names(infobits: InfoBits) -> [(bool, &'static str); 5] {
    [
        (infobits.is_multi(), "IS_MULTI"),
        (infobits.lock_only(), "LOCK_ONLY"),
        (infobits.exclusive_lock(), "EXCL_LOCK"),
        (infobits.key_share_lock(), "KEYSHR_LOCK"),
        (infobits.keys_updated(), "KEYS_UPDATED"),
    ]
}

/// The names of the flags that are set.
fn set_flags<const N: usize>(
    fields: &mut Fields<'_>,
    name: &str,
    flags: [(bool, &'static str); N],
) {
    let set = flags.into_iter().filter(|(is_set, _)| *is_set);
    list(fields.name(name), set, |out, (_, name)| {
        out.str(name);
    });
}

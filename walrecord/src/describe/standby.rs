//! Descriptions of Standby records (access/rmgrdesc/standbydesc.c).

use crate::describe::Text;
use crate::record::Record;
use crate::rmgr::standby::{InvalidationMessage, Invalidations, RunningXacts, StandbyRecord};
use crate::rmgr::{BodyError, LeArray};
use crate::types::{PgVersion, Xid};

pub(super) fn describe(record: &Record<'_>, out: &mut Text) -> Result<(), BodyError> {
    match StandbyRecord::decode(record)? {
        StandbyRecord::Lock(locks) => {
            for lock in locks {
                out.str("xid ").dec(lock.xid).str(" db ").dec(lock.db);
                out.str(" rel ").dec(lock.rel).byte(b' ');
            }
        }
        StandbyRecord::RunningXacts(running) => describe_running(&running, record.version, out),
        StandbyRecord::Invalidations(invalidations) => describe_invalidations(&invalidations, out),
    }
    Ok(())
}

/// 16 added the list of subtransactions and spelt out "overflowed".
fn describe_running(running: &RunningXacts<'_>, version: PgVersion, out: &mut Text) {
    let newer = version >= PgVersion::V16;
    out.str("nextXid ").dec(running.next_xid);
    out.str(" latestCompletedXid ");
    out.dec(running.latest_completed);
    out.str(" oldestRunningXid ").dec(running.oldest_running);
    list(running.xids, " xacts:", out);
    if running.subxids_overflowed {
        out.str(match newer {
            true => "; subxid overflowed",
            false => "; subxid ovf",
        });
    }
    if newer {
        list(running.subxids, " subxacts:", out);
    }
}

fn list(xids: LeArray<'_, Xid>, label: &str, out: &mut Text) {
    if xids.is_empty() {
        return;
    }
    out.str("; ").dec(xids.len() as u64).str(label);
    for xid in xids {
        out.byte(b' ').dec(xid);
    }
}

/// Cache invalidations, which other resource managers' records hold, too.
pub(super) fn describe_invalidations(invalidations: &Invalidations<'_>, out: &mut Text) {
    if invalidations.messages.is_empty() {
        return;
    }
    if invalidations.init_file {
        out.str("; relcache init file inval dbid ");
        out.dec(invalidations.db)
            .str(" tsid ")
            .dec(invalidations.spc);
    }
    out.str("; inval msgs:");
    for InvalidationMessage(message) in invalidations.messages {
        describe_message(&message, out);
    }
}

/// The first byte tells the kind; other fields are words (storage/sinval.h). 18 added the last kind.
fn describe_message(message: &[u8; 16], out: &mut Text) {
    let word = |at: usize| {
        let bytes = [
            message[at],
            message[at + 1],
            message[at + 2],
            message[at + 3],
        ];
        u32::from_le_bytes(bytes)
    };
    match message[0] as i8 {
        id @ 0.. => out.str(" catcache ").signed(id),
        -1 => out.str(" catalog ").dec(word(8)),
        -2 => out.str(" relcache ").dec(word(8)),
        -3 => out.str(" smgr"),
        -4 => out.str(" relmap db ").dec(word(4)),
        -5 => out.str(" snapshot ").dec(word(8)),
        -6 => out.str(" relsync ").dec(word(8)),
        id => out.str(" unrecognized id ").signed(id),
    };
}

//! Descriptions of Standby records (access/rmgrdesc/standbydesc.c).

use crate::describe::Text;
use crate::describe::invalidations::Invalidations;
use crate::record::Record;
use crate::rmgr::standby::{RunningXacts, StandbyRecord};
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
        StandbyRecord::Invalidations(record_of) => {
            let invalidations = Invalidations {
                messages: record_of.messages,
                db: record_of.db,
                spc: record_of.spc,
                init_file: record_of.init_file,
            };
            invalidations.describe(record.version, out);
        }
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

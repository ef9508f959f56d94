//! Descriptions of MultiXact records (access/rmgrdesc/mxactdesc.c).

use crate::describe::Text;
use crate::record::Record;
use crate::rmgr::BodyError;
use crate::rmgr::multixact::{Member, MultiXactRecord};

pub(super) fn describe(record: &Record<'_>, out: &mut Text) -> Result<(), BodyError> {
    match MultiXactRecord::decode(record)? {
        MultiXactRecord::ZeroOffsetPage(page) | MultiXactRecord::ZeroMemberPage(page) => {
            out.dec(page);
        }
        MultiXactRecord::CreateId(create) => {
            out.dec(create.multi).str(" offset ").dec(create.offset);
            out.str(" nmembers ").dec(create.members.len() as u64);
            out.str(": ");
            for member in create.members {
                describe_member(&member, out);
            }
        }
        MultiXactRecord::TruncateId(truncate) => {
            out.str("offsets [").dec(truncate.start_multi);
            out.str(", ").dec(truncate.end_multi);
            out.str("), members [").dec(truncate.start_member);
            out.str(", ").dec(truncate.end_member).byte(b')');
        }
    }
    Ok(())
}

fn describe_member(member: &Member, out: &mut Text) {
    out.dec(member.xid).str(match member.status {
        0 => " (keysh) ",
        1 => " (sh) ",
        2 => " (fornokeyupd) ",
        3 => " (forupd) ",
        4 => " (nokeyupd) ",
        5 => " (upd) ",
        _ => " (unk) ",
    });
}

//! Cache invalidation messages, which records of transactions and of hot standbys carry
//! (`standby_desc_invalidations`, access/rmgrdesc/standbydesc.c; storage/sinval.h).

use super::Text;
use crate::rmgr::LeArray;
use crate::rmgr::standby::InvalidationMessage;
use crate::types::{Oid, PgVersion};

/// Messages, and what goes with them.
pub(super) struct Invalidations<'a> {
    pub(super) messages: LeArray<'a, InvalidationMessage>,
    pub(super) db: Oid,
    pub(super) spc: Oid,
    /// The relation cache's init file is invalid, too.
    pub(super) init_file: bool,
}

impl Invalidations<'_> {
    pub(super) fn describe(&self, version: PgVersion, out: &mut Text) {
        if self.messages.is_empty() {
            return;
        }
        if self.init_file {
            out.str("; relcache init file inval dbid ").dec(self.db);
            out.str(" tsid ").dec(self.spc);
        }
        out.str("; inval msgs:");
        for InvalidationMessage(message) in self.messages {
            describe_one(&message, version, out);
        }
    }
}

/// The first byte tells the kind; other fields are words. 18 added the last kind.
fn describe_one(message: &[u8; 16], version: PgVersion, out: &mut Text) {
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
        -6 if version >= PgVersion::V18 => out.str(" relsync ").dec(word(8)),
        id => out.str(" unrecognized id ").signed(id),
    };
}

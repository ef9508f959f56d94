//! The line of one record (`XLogDumpDisplayRecord`, bin/pg_waldump/pg_waldump.c).

use super::RecordLength;
use super::blocks::{self, BlockStyle};
use crate::describe::{Text, Word, describe};
use crate::record::Record;
use crate::rmgr::{BodyError, Rmgr, RmgrId, record_name};

/// Appends a record's line, or its lines if the blocks have one each.
///
/// # Errors
/// If the record's body is not what its resource manager writes, so that its description is missing or
/// cut off. The line is whole otherwise. An unknown opcode is no error: the line says so.
pub fn record_line(
    record: &Record<'_>,
    style: BlockStyle,
    out: &mut Text,
) -> Result<(), BodyError> {
    head(record, out);
    match record_name(record) {
        Some(name) => out.str(name),
        None => {
            let info = u64::from(record.info());
            out.str("UNKNOWN (").hex_lower(info, 1).byte(b')')
        }
    };
    out.byte(b' ');
    let described = match describe(record, out) {
        Err(BodyError::Opcode { .. }) => Ok(()),
        described => described,
    };
    blocks::describe(record, style, out);
    described
}

/// What a line begins with, whatever the record holds.
#[inline]
fn head(record: &Record<'_>, out: &mut Text) {
    let header = &record.header;
    let length = RecordLength::of(record);
    let words = (
        Word::right(u64::from(length.rest), 6),
        Word::right(u64::from(header.total_length), 6),
        Word::right(u64::from(header.xid), 8),
    );
    let (RmgrId::BuiltIn(rmgr), (Some(rest), Some(total), Some(xid))) = (header.rmgr, words) else {
        return long_head(record, length, out);
    };
    // At most 144 characters.
    out.within::<160>(|room| {
        let start = &STARTS[rmgr as usize];
        room.store(&start.text, start.length).word(rest);
        room.str("/").word(total).str(", tx:   ").word(xid);
        room.str(", lsn: ").lsn(record.start.get());
        room.str(", prev ").lsn(header.prev.get()).str(", desc: ");
    });
}

/// The same for an extension's record, and for numbers that are wider than their columns.
fn long_head(record: &Record<'_>, length: RecordLength, out: &mut Text) {
    let name = record.header.rmgr.to_string();
    out.str(BEFORE_NAME).str_left(&name, NAME_WIDTH);
    out.str(BEHIND_NAME).dec_right(length.rest, 6).byte(b'/');
    out.dec_right(record.header.total_length, 6);
    out.str(", tx: ").dec_right(record.header.xid, 10);
    out.str(", lsn: ").lsn(record.start, true);
    out.str(", prev ").lsn(record.header.prev, true);
    out.str(", desc: ");
}

const BEFORE_NAME: &str = "rmgr: ";
const NAME_WIDTH: usize = 11;
const BEHIND_NAME: &str = " len (rec/tot): ";

/// What the line of a resource manager's record starts with.
struct Start {
    text: [u8; 40],
    length: usize,
}

/// By the resource manager's number.
static STARTS: [Start; Rmgr::ALL.len()] = {
    let mut starts = [const {
        Start {
            text: [b' '; 40],
            length: 0,
        }
    }; Rmgr::ALL.len()];
    let mut number = 0;
    while number < starts.len() {
        let name = Rmgr::ALL[number].name().as_bytes();
        let width = if name.len() < NAME_WIDTH {
            NAME_WIDTH
        } else {
            name.len()
        };
        let start = &mut starts[number];
        put(&mut start.text, 0, BEFORE_NAME.as_bytes());
        put(&mut start.text, BEFORE_NAME.len(), name);
        let behind = BEFORE_NAME.len() + width;
        put(&mut start.text, behind, BEHIND_NAME.as_bytes());
        start.length = behind + BEHIND_NAME.len();
        number += 1;
    }
    starts
};

/// Copies `bytes` into `text`, from `at` on.
const fn put(text: &mut [u8; 40], at: usize, bytes: &[u8]) {
    let mut index = 0;
    while index < bytes.len() {
        text[at + index] = bytes[index];
        index += 1;
    }
}

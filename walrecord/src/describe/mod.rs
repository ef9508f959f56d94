//! What `pg_waldump` says of a record's contents, word for word, in the form of the major version that
//! wrote it. One module per resource manager, after Postgres's access/rmgrdesc.

mod brin;
mod btree;
mod clog;
mod commit_ts;
mod database;
mod fields;
mod float;
mod generic;
mod gin;
mod gist;
mod hash;
mod heap;
mod heap2;
mod message;
mod multixact;
mod origin;
mod path;
mod relmap;
mod sequence;
mod spgist;
mod standby;
mod storage;
mod tablespace;
mod text;
mod time;
mod word;
mod xact;
mod xlog;

pub use text::Text;
pub use time::{LocalTime, TimeZone};
pub(crate) use word::Word;

use crate::record::Record;
use crate::rmgr::{BodyError, Rmgr, RmgrId};

/// Appends the description of a record: what stands after `desc: NAME ` in a line of `pg_waldump`.
/// The record's name itself is [`record_name`](crate::rmgr::record_name). Of an extension's record
/// there is nothing to say but its resource manager's number.
///
/// # Errors
/// If the record is not what its resource manager writes. What was appended until then stays.
pub fn describe(record: &Record<'_>, out: &mut Text) -> Result<(), BodyError> {
    let rmgr = match record.header.rmgr {
        RmgrId::BuiltIn(rmgr) => rmgr,
        RmgrId::Custom(number) => {
            out.str("rmid: ").dec(number);
            return Ok(());
        }
    };
    match rmgr {
        Rmgr::Xlog => xlog::describe(record, out),
        Rmgr::Transaction => xact::describe(record, out),
        Rmgr::Storage => storage::describe(record, out),
        Rmgr::Clog => clog::describe(record, out),
        Rmgr::Database => database::describe(record, out),
        Rmgr::Tablespace => tablespace::describe(record, out),
        Rmgr::MultiXact => multixact::describe(record, out),
        Rmgr::RelMap => relmap::describe(record, out),
        Rmgr::Standby => standby::describe(record, out),
        Rmgr::Heap2 => heap2::describe(record, out),
        Rmgr::Heap => heap::describe(record, out),
        Rmgr::Btree => btree::describe(record, out),
        Rmgr::Hash => hash::describe(record, out),
        Rmgr::Gin => gin::describe(record, out),
        Rmgr::Gist => gist::describe(record, out),
        Rmgr::Sequence => sequence::describe(record, out),
        Rmgr::SpGist => spgist::describe(record, out),
        Rmgr::Brin => brin::describe(record, out),
        Rmgr::CommitTs => commit_ts::describe(record, out),
        Rmgr::ReplicationOrigin => origin::describe(record, out),
        Rmgr::Generic => generic::describe(record, out),
        Rmgr::LogicalMessage => message::describe(record, out),
    }
}

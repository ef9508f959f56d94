//! The body of a record of any resource manager, for those who look at all of them alike.

use crate::record::Record;
use crate::rmgr::{self, BodyError, Rmgr, RmgrId};

/// The decoded main data of a record.
#[derive(Clone, Copy, Debug, PartialEq)]
#[expect(missing_docs, reason = "the names are Postgres's own")]
pub enum RecordBody<'a> {
    Xlog(rmgr::xlog::XlogRecord<'a>),
    Transaction(rmgr::xact::XactRecord<'a>),
    Storage(rmgr::storage::StorageRecord),
    Clog(rmgr::clog::ClogRecord),
    Database(rmgr::database::DatabaseRecord<'a>),
    Tablespace(rmgr::tablespace::TablespaceRecord<'a>),
    MultiXact(rmgr::multixact::MultiXactRecord<'a>),
    RelMap(rmgr::relmap::RelMapUpdate<'a>),
    Standby(rmgr::standby::StandbyRecord<'a>),
    Heap2(rmgr::heap2::Heap2Record<'a>),
    Heap(rmgr::heap::HeapRecord<'a>),
    Btree(rmgr::btree::BtreeRecord),
    Hash(rmgr::hash::HashRecord<'a>),
    Gin(rmgr::gin::GinRecord<'a>),
    Gist(rmgr::gist::GistRecord<'a>),
    Sequence(rmgr::sequence::SequenceLog<'a>),
    SpGist(rmgr::spgist::SpGistRecord<'a>),
    Brin(rmgr::brin::BrinRecord),
    CommitTs(rmgr::commit_ts::CommitTsRecord),
    ReplicationOrigin(rmgr::origin::OriginRecord),
    /// A generic record: all it says is block data.
    Generic,
    LogicalMessage(rmgr::message::LogicalMessage<'a>),
    /// An extension's record, which only the extension understands.
    Custom {
        /// Its main data.
        main_data: &'a [u8],
    },
}

impl<'a> RecordBody<'a> {
    /// Decodes the main data of a record.
    ///
    /// # Errors
    /// If it is not what its resource manager writes.
    pub fn decode(record: &Record<'a>) -> Result<RecordBody<'a>, BodyError> {
        let RmgrId::BuiltIn(rmgr) = record.header.rmgr else {
            let main_data = record.main_data;
            return Ok(RecordBody::Custom { main_data });
        };
        Ok(match rmgr {
            Rmgr::Xlog => RecordBody::Xlog(rmgr::xlog::XlogRecord::decode(record)?),
            Rmgr::Transaction => RecordBody::Transaction(rmgr::xact::XactRecord::decode(record)?),
            Rmgr::Storage => RecordBody::Storage(rmgr::storage::StorageRecord::decode(record)?),
            Rmgr::Clog => RecordBody::Clog(rmgr::clog::ClogRecord::decode(record)?),
            Rmgr::Database => RecordBody::Database(rmgr::database::DatabaseRecord::decode(record)?),
            Rmgr::Tablespace => {
                RecordBody::Tablespace(rmgr::tablespace::TablespaceRecord::decode(record)?)
            }
            Rmgr::MultiXact => {
                RecordBody::MultiXact(rmgr::multixact::MultiXactRecord::decode(record)?)
            }
            Rmgr::RelMap => RecordBody::RelMap(rmgr::relmap::RelMapUpdate::decode(record)?),
            Rmgr::Standby => RecordBody::Standby(rmgr::standby::StandbyRecord::decode(record)?),
            Rmgr::Heap2 => RecordBody::Heap2(rmgr::heap2::Heap2Record::decode(record)?),
            Rmgr::Heap => RecordBody::Heap(rmgr::heap::HeapRecord::decode(record)?),
            Rmgr::Btree => RecordBody::Btree(rmgr::btree::BtreeRecord::decode(record)?),
            Rmgr::Hash => RecordBody::Hash(rmgr::hash::HashRecord::decode(record)?),
            Rmgr::Gin => RecordBody::Gin(rmgr::gin::GinRecord::decode(record)?),
            Rmgr::Gist => RecordBody::Gist(rmgr::gist::GistRecord::decode(record)?),
            Rmgr::Sequence => RecordBody::Sequence(rmgr::sequence::SequenceLog::decode(record)?),
            Rmgr::SpGist => RecordBody::SpGist(rmgr::spgist::SpGistRecord::decode(record)?),
            Rmgr::Brin => RecordBody::Brin(rmgr::brin::BrinRecord::decode(record)?),
            Rmgr::CommitTs => {
                RecordBody::CommitTs(rmgr::commit_ts::CommitTsRecord::decode(record)?)
            }
            Rmgr::ReplicationOrigin => {
                RecordBody::ReplicationOrigin(rmgr::origin::OriginRecord::decode(record)?)
            }
            Rmgr::Generic => RecordBody::Generic,
            Rmgr::LogicalMessage => {
                RecordBody::LogicalMessage(rmgr::message::LogicalMessage::decode(record)?)
            }
        })
    }
}

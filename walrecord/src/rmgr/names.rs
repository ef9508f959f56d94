//! The names of records, as `pg_waldump` prints them (the `*_identify` functions of
//! access/rmgrdesc).

use crate::record::Record;
use crate::rmgr::{Rmgr, RmgrId, heap, xact};
use crate::types::PgVersion;

/// The name of a record's kind, as `pg_waldump` of its version prints it: `INSERT+INIT`,
/// `HOT_UPDATE`, `CHECKPOINT_ONLINE`. None for an unknown opcode and for an extension's record.
pub fn record_name(record: &Record<'_>) -> Option<&'static str> {
    match record.header.rmgr {
        RmgrId::BuiltIn(rmgr) => opcode_name(rmgr, record.info(), record.version),
        RmgrId::Custom(_) => None,
    }
}

/// The name of the records of a resource manager that have this opcode: the high four bits of the flag
/// byte, `info`.
pub fn opcode_name(rmgr: Rmgr, info: u8, version: PgVersion) -> Option<&'static str> {
    match rmgr {
        Rmgr::Xlog => xlog(info, version),
        Rmgr::Transaction => transaction(info),
        Rmgr::Storage => pick(info, &[(0x10, "CREATE"), (0x20, "TRUNCATE")]),
        Rmgr::Clog | Rmgr::CommitTs => pick(info, &[(0x00, "ZEROPAGE"), (0x10, "TRUNCATE")]),
        Rmgr::Database => database(info, version),
        Rmgr::Tablespace => pick(info, &[(0x00, "CREATE"), (0x10, "DROP")]),
        Rmgr::MultiXact => multixact(info),
        Rmgr::RelMap => pick(info, &[(0x00, "UPDATE")]),
        Rmgr::Standby => pick(
            info,
            &[
                (0x00, "LOCK"),
                (0x10, "RUNNING_XACTS"),
                (0x20, "INVALIDATIONS"),
            ],
        ),
        Rmgr::Heap2 => heap2(info, version),
        Rmgr::Heap => heap(info),
        Rmgr::Btree => btree(info),
        Rmgr::Hash => hash(info),
        Rmgr::Gin => gin(info),
        Rmgr::Gist => gist(info),
        Rmgr::Sequence => pick(info, &[(0x00, "LOG")]),
        Rmgr::SpGist => spgist(info),
        Rmgr::Brin => brin(info),
        Rmgr::ReplicationOrigin => pick(info, &[(0x00, "SET"), (0x10, "DROP")]),
        Rmgr::Generic => Some("Generic"),
        Rmgr::LogicalMessage => pick(info, &[(0x00, "MESSAGE")]),
    }
}

fn pick(info: u8, names: &[(u8, &'static str)]) -> Option<&'static str> {
    let found = names.iter().find(|(code, _)| *code == info);
    found.map(|(_, name)| *name)
}

fn xlog(info: u8, version: PgVersion) -> Option<&'static str> {
    Some(match info {
        0x00 => "CHECKPOINT_SHUTDOWN",
        0x10 => "CHECKPOINT_ONLINE",
        0x20 => "NOOP",
        0x30 => "NEXTOID",
        0x40 => "SWITCH",
        0x50 => "BACKUP_END",
        0x60 => "PARAMETER_CHANGE",
        0x70 => "RESTORE_POINT",
        0x80 => "FPW_CHANGE",
        0x90 => "END_OF_RECOVERY",
        0xA0 => "FPI_FOR_HINT",
        0xB0 => "FPI",
        0xD0 => "OVERWRITE_CONTRECORD",
        0xE0 if version >= PgVersion::V17 => "CHECKPOINT_REDO",
        _ => return None,
    })
}

fn transaction(info: u8) -> Option<&'static str> {
    Some(match info & xact::OPCODE_MASK {
        0x00 => "COMMIT",
        0x10 => "PREPARE",
        0x20 => "ABORT",
        0x30 => "COMMIT_PREPARED",
        0x40 => "ABORT_PREPARED",
        0x50 => "ASSIGNMENT",
        0x60 => "INVALIDATION",
        _ => return None,
    })
}

fn database(info: u8, version: PgVersion) -> Option<&'static str> {
    match version {
        PgVersion::V14 => pick(info, &[(0x00, "CREATE"), (0x10, "DROP")]),
        _ => pick(
            info,
            &[
                (0x00, "CREATE_FILE_COPY"),
                (0x10, "CREATE_WAL_LOG"),
                (0x20, "DROP"),
            ],
        ),
    }
}

fn multixact(info: u8) -> Option<&'static str> {
    pick(
        info,
        &[
            (0x00, "ZERO_OFF_PAGE"),
            (0x10, "ZERO_MEM_PAGE"),
            (0x20, "CREATE_ID"),
            (0x30, "TRUNCATE_ID"),
        ],
    )
}

fn heap2(info: u8, version: PgVersion) -> Option<&'static str> {
    const MULTI_INSERT_INIT: u8 = 0x50 | heap::INIT_PAGE;
    let unified = version >= PgVersion::V17;
    Some(match info {
        0x00 => "REWRITE",
        0x10 if unified => "PRUNE_ON_ACCESS",
        0x20 if unified => "PRUNE_VACUUM_SCAN",
        0x30 if unified => "PRUNE_VACUUM_CLEANUP",
        0x10 => "PRUNE",
        0x20 => "VACUUM",
        0x30 => "FREEZE_PAGE",
        0x40 => "VISIBLE",
        0x50 => "MULTI_INSERT",
        MULTI_INSERT_INIT => "MULTI_INSERT+INIT",
        0x60 => "LOCK_UPDATED",
        0x70 => "NEW_CID",
        _ => return None,
    })
}

fn heap(info: u8) -> Option<&'static str> {
    const INSERT_INIT: u8 = heap::INIT_PAGE;
    const UPDATE_INIT: u8 = 0x20 | heap::INIT_PAGE;
    const HOT_UPDATE_INIT: u8 = 0x40 | heap::INIT_PAGE;
    Some(match info {
        0x00 => "INSERT",
        INSERT_INIT => "INSERT+INIT",
        0x10 => "DELETE",
        0x20 => "UPDATE",
        UPDATE_INIT => "UPDATE+INIT",
        0x30 => "TRUNCATE",
        0x40 => "HOT_UPDATE",
        HOT_UPDATE_INIT => "HOT_UPDATE+INIT",
        0x50 => "HEAP_CONFIRM",
        0x60 => "LOCK",
        0x70 => "INPLACE",
        _ => return None,
    })
}

fn btree(info: u8) -> Option<&'static str> {
    Some(match info {
        0x00 => "INSERT_LEAF",
        0x10 => "INSERT_UPPER",
        0x20 => "INSERT_META",
        0x30 => "SPLIT_L",
        0x40 => "SPLIT_R",
        0x50 => "INSERT_POST",
        0x60 => "DEDUP",
        0x70 => "DELETE",
        0x80 => "UNLINK_PAGE",
        0x90 => "UNLINK_PAGE_META",
        0xA0 => "NEWROOT",
        0xB0 => "MARK_PAGE_HALFDEAD",
        0xC0 => "VACUUM",
        0xD0 => "REUSE_PAGE",
        0xE0 => "META_CLEANUP",
        _ => return None,
    })
}

fn hash(info: u8) -> Option<&'static str> {
    Some(match info {
        0x00 => "INIT_META_PAGE",
        0x10 => "INIT_BITMAP_PAGE",
        0x20 => "INSERT",
        0x30 => "ADD_OVFL_PAGE",
        0x40 => "SPLIT_ALLOCATE_PAGE",
        0x50 => "SPLIT_PAGE",
        0x60 => "SPLIT_COMPLETE",
        0x70 => "MOVE_PAGE_CONTENTS",
        0x80 => "SQUEEZE_PAGE",
        0x90 => "DELETE",
        0xA0 => "SPLIT_CLEANUP",
        0xB0 => "UPDATE_META_PAGE",
        0xC0 => "VACUUM_ONE_PAGE",
        _ => return None,
    })
}

fn gin(info: u8) -> Option<&'static str> {
    Some(match info {
        0x10 => "CREATE_PTREE",
        0x20 => "INSERT",
        0x30 => "SPLIT",
        0x40 => "VACUUM_PAGE",
        0x50 => "DELETE_PAGE",
        0x60 => "UPDATE_META_PAGE",
        0x70 => "INSERT_LISTPAGE",
        0x80 => "DELETE_LISTPAGE",
        0x90 => "VACUUM_DATA_LEAF_PAGE",
        _ => return None,
    })
}

fn gist(info: u8) -> Option<&'static str> {
    pick(
        info,
        &[
            (0x00, "PAGE_UPDATE"),
            (0x10, "DELETE"),
            (0x20, "PAGE_REUSE"),
            (0x30, "PAGE_SPLIT"),
            (0x60, "PAGE_DELETE"),
            (0x70, "ASSIGN_LSN"),
        ],
    )
}

fn spgist(info: u8) -> Option<&'static str> {
    Some(match info {
        0x10 => "ADD_LEAF",
        0x20 => "MOVE_LEAFS",
        0x30 => "ADD_NODE",
        0x40 => "SPLIT_TUPLE",
        0x50 => "PICKSPLIT",
        0x60 => "VACUUM_LEAF",
        0x70 => "VACUUM_ROOT",
        0x80 => "VACUUM_REDIRECT",
        _ => return None,
    })
}

fn brin(info: u8) -> Option<&'static str> {
    Some(match info {
        0x00 => "CREATE_INDEX",
        0x10 => "INSERT",
        0x90 => "INSERT+INIT",
        0x20 => "UPDATE",
        0xA0 => "UPDATE+INIT",
        0x30 => "SAMEPAGE_UPDATE",
        0x40 => "REVMAP_EXTEND",
        0x50 => "DESUMMARIZE",
        _ => return None,
    })
}

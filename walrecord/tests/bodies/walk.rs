//! Decodes everything that a record holds: main data, and the data of each block as redo would.

use walrecord::rmgr::btree::{self, BtreeRecord};
use walrecord::rmgr::gin::{GinRecord, Recompression};
use walrecord::rmgr::gist::{GistRecord, PageSplit};
use walrecord::rmgr::hash::HashRecord;
use walrecord::rmgr::heap::HeapRecord;
use walrecord::rmgr::heap2::Heap2Record;
use walrecord::rmgr::spgist::SpGistRecord;
use walrecord::rmgr::{BodyError, RecordBody, generic::Fragments, visibility};
use walrecord::Record;

/// Decodes main data and block data, walks all iterators, and says how many items it saw.
pub(crate) fn walk(record: &Record<'_>) -> Result<usize, BodyError> {
    let items = visibility::clears(record)?.count();
    Ok(items
        + match RecordBody::decode(record)? {
            RecordBody::Heap(body) => heap(record, body)?,
            RecordBody::Heap2(body) => heap2(record, body)?,
            RecordBody::Btree(body) => btree(record, body)?,
            RecordBody::Hash(body) => hash(record, body)?,
            RecordBody::Gin(body) => gin(record, body)?,
            RecordBody::Gist(body) => gist(record, body)?,
            RecordBody::SpGist(body) => spgist(body),
            RecordBody::Generic => {
                let mut items = 0;
                for block in record.blocks().iter().filter(|block| block.data.is_some()) {
                    items += Fragments::decode(record, block.id)?.count();
                }
                items
            }
            body => format!("{body:?}").len(),
        })
}

/// Redo needs the data of a block that is there and not restored from an image.
fn needed(record: &Record<'_>, id: u8) -> bool {
    record
        .block(id)
        .is_some_and(|block| !block.image.is_some_and(|image| image.apply))
}

fn heap<'a>(record: &Record<'a>, body: HeapRecord<'a>) -> Result<usize, BodyError> {
    if !needed(record, 0) {
        return Ok(0);
    }
    Ok(match body {
        HeapRecord::Insert(insert) => insert.tuple(record)?.data.len(),
        HeapRecord::Update(update) | HeapRecord::HotUpdate(update) => {
            update.tuple(record)?.data.len()
        }
        HeapRecord::Inplace(inplace) => inplace.content(record)?.len(),
        _ => 0,
    })
}

fn heap2<'a>(record: &Record<'a>, body: Heap2Record<'a>) -> Result<usize, BodyError> {
    if !needed(record, 0) {
        return Ok(0);
    }
    Ok(match body {
        Heap2Record::Prune(prune) => {
            let offsets = prune.offsets(record)?;
            offsets.redirected.iter().count()
                + offsets.dead.iter().count()
                + offsets.unused.iter().count()
        }
        Heap2Record::Vacuum(vacuum) => vacuum.offsets(record)?.iter().count(),
        Heap2Record::Freeze(freeze) => freeze.tuples(record)?.count(),
        Heap2Record::PruneFreeze(prune) => {
            let data = prune.data(record)?;
            data.frozen.count() + data.offsets.unused.iter().count()
        }
        Heap2Record::MultiInsert(insert) => {
            let mut items = 0;
            for tuple in insert.tuples(record)? {
                items += tuple?.tuple.data.len();
            }
            items
        }
        _ => 0,
    })
}

fn btree(record: &Record<'_>, body: BtreeRecord) -> Result<usize, BodyError> {
    let mut items = match body {
        BtreeRecord::InsertMeta(_) | BtreeRecord::NewRoot(_) if needed(record, 2) => {
            usize::from(btree::Metadata::decode(record, 2)?.all_equal_image)
        }
        BtreeRecord::UnlinkPageMeta(_) if needed(record, 4) => {
            usize::from(btree::Metadata::decode(record, 4)?.all_equal_image)
        }
        BtreeRecord::MetaCleanup if needed(record, 0) => {
            usize::from(btree::Metadata::decode(record, 0)?.all_equal_image)
        }
        BtreeRecord::SplitLeft(_) | BtreeRecord::SplitRight(_) if needed(record, 1) => {
            btree::Items::of_right_page(record)?.count()
        }
        _ => 0,
    };
    if needed(record, 0) {
        items += btree_block_0(record, body)?;
    }
    Ok(items)
}

fn btree_block_0(record: &Record<'_>, body: BtreeRecord) -> Result<usize, BodyError> {
    let deletions = |counts: btree::DeletionCounts| -> Result<usize, BodyError> {
        let deletions = counts.deletions(record)?;
        let updated = deletions.updated.map(|update| update.deleted_tids.iter().count());
        Ok(deletions.deleted.iter().count() + updated.sum::<usize>())
    };
    Ok(match body {
        BtreeRecord::InsertLeaf(insert)
        | BtreeRecord::InsertUpper(insert)
        | BtreeRecord::InsertMeta(insert) => insert.item(record)?.len(),
        BtreeRecord::InsertPost(insert) => insert.posting(record)?.item.len(),
        BtreeRecord::SplitLeft(split) => split.left_data(record, true)?.high_key.len(),
        BtreeRecord::SplitRight(split) => split.left_data(record, false)?.high_key.len(),
        BtreeRecord::Dedup(dedup) => dedup.intervals(record)?.iter().count(),
        BtreeRecord::Delete(delete) => deletions(delete.counts)?,
        BtreeRecord::Vacuum(vacuum) => deletions(vacuum.counts)?,
        BtreeRecord::NewRoot(root) if root.level > 0 => root.items(record)?.count(),
        _ => 0,
    })
}

fn hash(record: &Record<'_>, body: HashRecord<'_>) -> Result<usize, BodyError> {
    let number = |id| match needed(record, id) {
        true => HashRecord::block_number_data(record, id).map(|_| 1),
        false => Ok(0),
    };
    let added = |count| match needed(record, 1) {
        true => HashRecord::added(record, count).map(|added| added.tuples.count()),
        false => Ok(0),
    };
    let removed = |id| match needed(record, id) {
        true => HashRecord::removed(record, id).map(|removed| removed.iter().count()),
        false => Ok(0),
    };
    Ok(match body {
        HashRecord::Insert { .. } if needed(record, 0) => {
            HashRecord::inserted_tuple(record)?.len()
        }
        HashRecord::AddOverflowPage(_) => number(0)? + number(2)? + number(4)?,
        HashRecord::SplitAllocatePage(split) if needed(record, 2) => {
            usize::from(split.meta(record)?.masks.is_some())
        }
        HashRecord::MovePageContents(moved) => added(moved.tuples)? + removed(2)?,
        HashRecord::SqueezePage(squeeze) => added(squeeze.tuples)? + number(5)? + number(6)?,
        HashRecord::Delete(_) => removed(1)?,
        _ => 0,
    })
}

fn gin(record: &Record<'_>, body: GinRecord<'_>) -> Result<usize, BodyError> {
    Ok(match body {
        GinRecord::Insert(insert) if needed(record, 0) => match insert.insertion(record)? {
            walrecord::rmgr::gin::Insertion::DataLeaf(actions) => actions.count(),
            _ => 1,
        },
        GinRecord::VacuumDataLeafPage if needed(record, 0) => {
            Recompression::of_vacuum(record)?.count()
        }
        GinRecord::InsertListPage(page) if needed(record, 0) => {
            GinRecord::list_tuples(record, 0, page.tuples)?.count()
        }
        GinRecord::UpdateMetaPage(update) if update.tuples > 0 && needed(record, 1) => {
            GinRecord::list_tuples(record, 1, update.tuples)?.count()
        }
        _ => 0,
    })
}

fn gist(record: &Record<'_>, body: GistRecord<'_>) -> Result<usize, BodyError> {
    Ok(match body {
        GistRecord::PageUpdate(update) if needed(record, 0) => {
            let data = update.data(record)?;
            data.deleted.iter().count() + data.inserted.count()
        }
        GistRecord::PageSplit(_) => {
            let mut items = 0;
            for block in record.blocks().iter().filter(|block| block.id > 0) {
                if needed(record, block.id) {
                    items += PageSplit::tuples(record, block.id)?.count();
                }
            }
            items
        }
        _ => 0,
    })
}

fn spgist(body: SpGistRecord<'_>) -> usize {
    match body {
        SpGistRecord::MoveLeafs(moved) => moved.tuples.count(),
        SpGistRecord::PickSplit(split) => split.tuples.count(),
        _ => 0,
    }
}

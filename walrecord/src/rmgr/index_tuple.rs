//! Runs of index tuples in block data, as B-tree, hash, GIN and GiST records carry them
//! (access/itup.h).

use crate::rmgr::Rmgr;
use crate::rmgr::body::{Body, BodyError, u16_at};

/// The bits of `t_info` that are the tuple's size in bytes (`INDEX_SIZE_MASK`).
const SIZE_MASK: u16 = 0x1FFF;

/// Bytes of a tuple's header: TID and `t_info`.
const HEADER_SIZE: usize = 8;

/// Where the next tuple of a run starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spacing {
    /// Right behind the one before.
    Tight,
    /// At the next multiple of 8 bytes. The padding is part of the tuple.
    Aligned,
}

/// Index tuples that stand one after the other. An iterator of their bytes; its content was checked
/// when it was made.
#[derive(Clone, Copy, Debug)]
pub struct IndexTuples<'a> {
    body: Body<'a>,
    spacing: Spacing,
}

impl<'a> IndexTuples<'a> {
    /// All of `bytes`.
    pub(crate) fn new(
        rmgr: Rmgr,
        bytes: &'a [u8],
        spacing: Spacing,
    ) -> Result<IndexTuples<'a>, BodyError> {
        let body = Body::new(rmgr, bytes);
        let mut check = body;
        while check.left() > 0 {
            read_index_tuple(&mut check, "index tuple", spacing)?;
        }
        Ok(IndexTuples { body, spacing })
    }
}

impl<'a> Iterator for IndexTuples<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        // The end of the bytes is the only error that can be left.
        read_index_tuple(&mut self.body, "index tuple", self.spacing).ok()
    }
}

/// One index tuple.
pub(crate) fn read_index_tuple<'a>(
    body: &mut Body<'a>,
    field: &'static str,
    spacing: Spacing,
) -> Result<&'a [u8], BodyError> {
    let mut header = *body;
    let header = header.take(field, HEADER_SIZE)?;
    let size = usize::from(u16_at(header, 6) & SIZE_MASK);
    if size < HEADER_SIZE {
        return Err(body.value(field, size as i64));
    }
    match spacing {
        Spacing::Tight => body.take(field, size),
        Spacing::Aligned => body.take(field, size.next_multiple_of(8)),
    }
}

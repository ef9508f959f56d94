//! Generic records, by which extensions change pages (access/generic_xlog.h; redone by
//! `generic_redo`, access/transam/generic_xlog.c).

use crate::record::Record;
use crate::rmgr::Rmgr;
use crate::rmgr::body::{Body, BodyError, block_data};
use crate::types::PAGE_SIZE;

const RMGR: Rmgr = Rmgr::Generic;

/// Bytes that replace what a page has at an offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment<'a> {
    /// Where, from the start of the page. `offset` + length never exceeds the page.
    pub offset: u16,
    /// The bytes.
    pub bytes: &'a [u8],
}

/// The changes of one page by a generic record, whose opcode is always 0 and whose main data is empty.
/// After them the bytes between `pd_lower` and `pd_upper` become zero. An iterator; its content was
/// checked when it was made.
#[derive(Clone, Copy, Debug)]
pub struct Fragments<'a> {
    body: Body<'a>,
}

impl<'a> Fragments<'a> {
    /// The changes of block `id`.
    ///
    /// # Errors
    /// If block or data is missing, or a change does not fit the page.
    pub fn decode(record: &Record<'a>, id: u8) -> Result<Fragments<'a>, BodyError> {
        let body = Body::new(RMGR, block_data(RMGR, record, id)?);
        let mut check = body;
        while check.left() > 0 {
            read_fragment(&mut check)?;
        }
        Ok(Fragments { body })
    }
}

impl<'a> Iterator for Fragments<'a> {
    type Item = Fragment<'a>;

    fn next(&mut self) -> Option<Fragment<'a>> {
        // The end of the data is the only error that can be left.
        read_fragment(&mut self.body).ok()
    }
}

fn read_fragment<'a>(body: &mut Body<'a>) -> Result<Fragment<'a>, BodyError> {
    let offset = body.u16("fragment offset")?;
    let length = body.u16("fragment length")?;
    let end = usize::from(offset) + usize::from(length);
    if end > PAGE_SIZE {
        return Err(body.value("fragment end", end as i64));
    }
    Ok(Fragment {
        offset,
        bytes: body.take("fragment", usize::from(length))?,
    })
}

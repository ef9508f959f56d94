//! Page images in data blocks, stored without what is zero anyway.
//!
//! A page says itself where its free space lies: `pd_lower` and `pd_upper` of `PageHeaderData`
//! (storage/bufpage.h). If that hole is all zero it is left out; the fields, which stay, tell
//! where it goes.

use std::ops::Range;

use walrecord::{PAGE_SIZE, Page, ZERO_PAGE};

use crate::layer::Damage;

/// How the value of a version is stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(in crate::layer) enum Form {
    /// As it is.
    Plain = 0,
    /// A page without its hole.
    Hole = 1,
    /// An all-zero page: no bytes.
    Zero = 2,
}

/// Room for one page, allocated when first used.
#[derive(Debug, Default)]
pub(in crate::layer) struct PageBuffer(Option<Box<Page>>);

/// Where `PageHeaderData` keeps `pd_lower` and `pd_upper`.
const PD_LOWER: usize = 12;
const PD_UPPER: usize = 14;
/// Bytes of the fixed part of `PageHeaderData`.
const PAGE_HEADER: usize = 24;

impl Form {
    pub(super) const fn from_u8(value: u8) -> Option<Form> {
        match value {
            0 => Some(Form::Plain),
            1 => Some(Form::Hole),
            2 => Some(Form::Zero),
            _ => None,
        }
    }
}

/// Appends a page to the values of a block.
pub(super) fn store(page: &[u8], values: &mut Vec<u8>) -> Form {
    if let Some(hole) = hole(page).filter(|hole| page[hole.clone()] == ZERO_PAGE[..hole.len()]) {
        values.extend_from_slice(&page[..hole.start]);
        values.extend_from_slice(&page[hole.end..]);
        Form::Hole
    } else if page == ZERO_PAGE {
        Form::Zero
    } else {
        values.extend_from_slice(page);
        Form::Plain
    }
}

/// Checks that the stored bytes of a page give a page.
pub(super) fn check(form: Form, stored: &[u8]) -> Result<(), Damage> {
    let expected = match form {
        Form::Plain => PAGE_SIZE,
        Form::Zero => 0,
        Form::Hole => {
            let hole = hole(stored).ok_or(Damage::Bounds {
                field: "length of a page without its hole",
                min: PAGE_HEADER as u64,
                max: PAGE_SIZE as u64 - 1,
                found: stored.len() as u64,
            })?;
            PAGE_SIZE - hole.len()
        }
    };
    Damage::unless_equal("length of a page", expected as u64, stored.len() as u64)
}

/// The page whose stored bytes passed [`check`].
pub(super) fn restore<'a>(form: Form, stored: &'a [u8], buffer: &'a mut PageBuffer) -> &'a [u8] {
    match form {
        Form::Plain => stored,
        Form::Zero => &ZERO_PAGE,
        Form::Hole => {
            let page = buffer.0.get_or_insert_with(|| Box::new(ZERO_PAGE));
            let hole = hole(stored).expect("checked when the block was read");
            let (low, high) = stored.split_at(hole.start);
            page[..hole.start].copy_from_slice(low);
            page[hole.clone()].fill(0);
            page[hole.end..].copy_from_slice(high);
            &page[..]
        }
    }
}

/// The hole that a page header, which may be of any content, claims.
fn hole(page: &[u8]) -> Option<Range<usize>> {
    let field = |at: usize| {
        let bytes = page.get(at..at + 2)?;
        Some(usize::from(u16::from_le_bytes([bytes[0], bytes[1]])))
    };
    let (lower, upper) = (field(PD_LOWER)?, field(PD_UPPER)?);
    (PAGE_HEADER <= lower && lower < upper && upper <= PAGE_SIZE).then_some(lower..upper)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(lower: u16, upper: u16, fill: u8) -> Page {
        let mut page = [fill; PAGE_SIZE];
        page[PD_LOWER..PD_UPPER].copy_from_slice(&lower.to_le_bytes());
        page[PD_UPPER..PD_UPPER + 2].copy_from_slice(&upper.to_le_bytes());
        page
    }

    fn with_hole(lower: u16, upper: u16) -> Page {
        let mut page = page(lower, upper, 7);
        page[usize::from(lower)..usize::from(upper)].fill(0);
        page
    }

    #[test]
    fn pages_come_back_exactly() {
        let mut touched_hole = with_hole(100, 8000);
        touched_hole[7999] = 1;
        let cases = [
            (ZERO_PAGE, Form::Zero, 0),
            (with_hole(24, 8192), Form::Hole, 24),
            (with_hole(100, 8000), Form::Hole, 292),
            (with_hole(8191, 8192), Form::Hole, 8191),
            (touched_hole, Form::Plain, 8192),
            (page(100, 100, 7), Form::Plain, 8192),
            (page(23, 8000, 7), Form::Plain, 8192),
            (page(100, 8193, 7), Form::Plain, 8192),
            (page(0, 0, 7), Form::Plain, 8192),
            ([0xFF; PAGE_SIZE], Form::Plain, 8192),
        ];
        let mut buffer = PageBuffer::default();
        for (page, form, len) in cases {
            let mut stored = Vec::new();
            assert_eq!(store(&page, &mut stored), form);
            assert_eq!(stored.len(), len);
            assert_eq!(check(form, &stored), Ok(()));
            assert_eq!(restore(form, &stored, &mut buffer), page);
        }
    }

    #[test]
    fn stored_bytes_that_give_no_page_are_refused() {
        let mut stored = Vec::new();
        store(&with_hole(100, 8000), &mut stored);
        for len in 0..stored.len() {
            assert!(check(Form::Hole, &stored[..len]).is_err(), "{len}");
        }
        assert!(check(Form::Plain, &stored).is_err());
        assert!(check(Form::Zero, &stored).is_err());
        stored[PD_LOWER] += 1;
        assert!(check(Form::Hole, &stored).is_err());
    }
}

//! The bodies of the fuzz targets: each takes any bytes, and panics if redo breaks a promise. Serves
//! `fuzz/fuzz_targets` and, on the committed corpora, the tests below; not part of the crate otherwise.

use walrecord::{
    Effect, EffectContext, Lsn, PAGE_SIZE, Page, PageKey, PgVersion, RECORD_HEADER_SIZE, Record,
    RedoRules, RmgrId, ZERO_PAGE, effects,
};

use crate::{header_plausible, is_new, mask, page_checksum};

/// A fuzz target: its name, which is that of its corpus, and its body.
pub type Target = (&'static str, fn(&[u8]));

/// All targets of this crate.
pub const TARGETS: &[Target] = &[("redo", redo)];

/// Where records end: behind what most pages say, so that the LSN test lets them through.
const END: Lsn = Lsn::new(0x7FFF_0000_0000_0000);

/// Bytes in front of a page: version and settings (1), minor release (1), how long the page's beginning (2)
/// and its end (2) are.
const HEAD: usize = 6;

/// A page and a record: the record is applied to the page as each page that it touches, or refused. A record
/// that was trimmed to what the page needs does the same. Of the page its beginning and its end are given,
/// with zeros between, then the record follows: see [`seed`].
pub fn redo(input: &[u8]) {
    let Some((head, rest)) = input.split_first_chunk::<HEAD>() else {
        return;
    };
    let Some((page, rest)) = unpack(head, rest) else {
        return;
    };
    let mut bytes = rest.to_vec();
    let length = (bytes.len() as u32).to_le_bytes();
    if let Some(header) = bytes.get_mut(..RECORD_HEADER_SIZE) {
        header[..4].copy_from_slice(&length);
    }
    let choice = usize::from(head[0] & 0x3F);
    let version = PgVersion::ALL[choice % PgVersion::ALL.len()];
    let rules = RedoRules {
        version,
        minor: u16::from(head[1]),
        hint_bits_logged: head[0] & 0x40 != 0,
    };
    let start = Lsn::new(END.get() - 8);
    let Ok(record) = Record::parse(version, start, END, &bytes) else {
        return;
    };
    for key in touched(&record, &rules, head[0] & 0x80 != 0) {
        apply(&page, &record, &key, &rules);
    }
}

/// Pages of one record at most that are tried: those of a transaction with thousands of children are alike.
const MAX_PAGES: usize = 20;

fn touched(record: &Record<'_>, rules: &RedoRules, track_commit_timestamp: bool) -> Vec<PageKey> {
    let context = EffectContext {
        rules: *rules,
        track_commit_timestamp,
    };
    let mut keys: Vec<PageKey> = Vec::new();
    // A record whose effects cannot be told may reach redo through a store that was told otherwise.
    keys.extend(
        record
            .blocks()
            .iter()
            .map(|block| PageKey::Block(block.tag)),
    );
    let _ = effects(record, &context, &mut |effect| {
        if let Effect::Page { key, .. } = effect
            && keys.len() < MAX_PAGES
            && !keys.contains(&key)
        {
            keys.push(key);
        }
    });
    keys
}

fn apply(page: &Page, record: &Record<'_>, key: &PageKey, rules: &RedoRules) {
    let mut whole = *page;
    let applied = crate::redo(&mut whole, record, key, rules);
    let mut bytes = Vec::new();
    let kept = match key {
        PageKey::Block(tag) => Some(tag),
        PageKey::Slru(_) => None,
    };
    record.encode_trimmed(kept, &mut bytes);
    let trimmed = Record::parse(record.version, record.start, record.end, &bytes);
    let mut page = *page;
    let again = crate::redo(&mut page, &trimmed.expect("it was whole"), key, rules);
    assert_eq!(applied, again);
    if applied.is_ok() {
        assert!(whole == page);
        let _ = (is_new(&page), header_plausible(&page));
        let _ = page_checksum(&page, 7);
        if let (PageKey::Block(tag), RmgrId::BuiltIn(rmgr)) = (key, record.header.rmgr) {
            mask(&mut page, tag, rmgr);
        }
    }
}

fn unpack<'a>(head: &[u8; HEAD], rest: &'a [u8]) -> Option<(Page, &'a [u8])> {
    let length = |at: usize| usize::from(u16::from_le_bytes([head[at], head[at + 1]]));
    let (front, back) = (length(2), length(4));
    let (before, rest) = rest.split_at_checked(front)?;
    let (behind, rest) = rest.split_at_checked(back)?;
    let mut page = ZERO_PAGE;
    page.get_mut(..front)?.copy_from_slice(before);
    let gap = PAGE_SIZE.checked_sub(back)?;
    page[gap..].copy_from_slice(behind);
    Some((page, rest))
}

/// The input of [`redo()`] that applies `record` to `page`.
#[cfg(test)]
pub(crate) fn seed(page: &Page, record: &[u8]) -> Vec<u8> {
    // The longest run of zeros is what is left out.
    let mut gap = PAGE_SIZE..PAGE_SIZE;
    let mut from = 0;
    for zeros in page.split(|byte| *byte != 0) {
        if zeros.len() > gap.len() {
            gap = from..from + zeros.len();
        }
        from += zeros.len() + 1;
    }
    let mut input = vec![1 | 0x40, 18];
    input.extend_from_slice(&(gap.start as u16).to_le_bytes());
    input.extend_from_slice(&((PAGE_SIZE - gap.end) as u16).to_le_bytes());
    input.extend_from_slice(&page[..gap.start]);
    input.extend_from_slice(&page[gap.end..]);
    input.extend_from_slice(record);
    input
}

#[cfg(test)]
#[path = "../../walrecord/fuzz/replay.rs"]
mod replay;

#[cfg(test)]
mod seeds;

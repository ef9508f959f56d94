//! A page for people: its header and its line pointers.

use std::fmt::Write as _;

use walrecord::{Lsn, Page, PageKey};

/// Bytes of a page header, and of a line pointer.
const HEADER: usize = 24;
const LINE_POINTER: usize = 4;

/// The text that `page get` prints.
pub(crate) fn dump(key: PageKey, lsn: Lsn, page: &Page) -> String {
    let mut out = String::new();
    let word = |at: usize| u16::from_le_bytes([page[at], page[at + 1]]);
    let _ = writeln!(out, "page        {key} at {lsn}");
    if walredo::is_zero(page) {
        let _ = writeln!(out, "all zero");
        return out;
    }
    if matches!(key, PageKey::Slru(_)) {
        hex(&mut out, page);
        return out;
    }
    let (lower, upper, special) = (word(12), word(14), word(16));
    let prune = u32::from_le_bytes([page[20], page[21], page[22], page[23]]);
    let _ = writeln!(out, "pd_lsn      {}", walredo::page_lsn(page));
    let _ = writeln!(out, "pd_checksum {:#06x}", word(8));
    let _ = writeln!(out, "pd_flags    {:#06x}", word(10));
    let _ = writeln!(out, "pd_lower    {lower}");
    let _ = writeln!(out, "pd_upper    {upper}");
    let _ = writeln!(out, "pd_special  {special}");
    let _ = writeln!(out, "pd_prune_xid {prune}");
    let pointers = usize::from(lower).clamp(HEADER, page.len()) - HEADER;
    let map = matches!(key, PageKey::Block(tag) if tag.fork != walrecord::ForkNumber::Main
        && tag.fork != walrecord::ForkNumber::Init);
    if map {
        return out;
    }
    for index in 0..pointers / LINE_POINTER {
        let at = HEADER + index * LINE_POINTER;
        let raw = u32::from_le_bytes([page[at], page[at + 1], page[at + 2], page[at + 3]]);
        let (offset, flags, length) = (raw & 0x7FFF, raw >> 15 & 3, raw >> 17);
        let state = ["unused", "normal", "redirect", "dead"][flags as usize];
        let _ = writeln!(
            out,
            "item {:<4} {state:<8} offset {offset:<5} length {length}",
            index + 1
        );
    }
    out
}

/// Sixteen bytes a line; runs of equal lines are left out.
fn hex(out: &mut String, page: &Page) {
    let mut last: Option<&[u8]> = None;
    let mut skipping = false;
    for (index, line) in page.chunks(16).enumerate() {
        if last == Some(line) {
            if !skipping {
                let _ = writeln!(out, "*");
            }
            skipping = true;
            continue;
        }
        skipping = false;
        last = Some(line);
        let _ = write!(out, "{:04x} ", index * 16);
        for byte in line {
            let _ = write!(out, " {byte:02x}");
        }
        let _ = writeln!(out);
    }
}

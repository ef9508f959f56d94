//! Writes the inputs that the fuzzers' corpora were grown from: of each kind of record the one with the least
//! to say, on the page that it was written for.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use walrecord::{BlockTag, DecoderOptions, Page, PageHeader, RecordReader, WalSlice, ZERO_PAGE};

use super::{RedoRules, seed, unpack};
use crate::{Applied, redo};

fn variable(name: &str) -> PathBuf {
    std::env::var_os(name)
        .unwrap_or_else(|| panic!("{name}"))
        .into()
}

/// Replays WAL from where it starts on; a page is known from its first image or initialisation on.
#[test]
#[ignore = "writes files: to the directory that ZENITH_SEEDS_DIR names, from the WAL in the file ZENITH_WAL_FILE"]
fn seeds_for_the_fuzzers() {
    let bytes = fs::read(variable("ZENITH_WAL_FILE")).unwrap();
    let start = PageHeader::parse(&bytes).unwrap().address;
    let source = WalSlice {
        start,
        bytes: &bytes,
    };
    let mut reader = RecordReader::new(source, DecoderOptions::default());
    reader.seek(start).unwrap();
    let mut pages: BTreeMap<BlockTag, Page> = BTreeMap::new();
    let mut shortest: BTreeMap<(u8, u8, u8), Vec<u8>> = BTreeMap::new();
    while let Ok(Some(raw)) = reader.next_record() {
        let record = raw.decode().unwrap();
        let rules = RedoRules {
            version: raw.version,
            minor: 18,
            hint_bits_logged: true,
        };
        for block in record.blocks() {
            let page = pages.entry(block.tag).or_insert(ZERO_PAGE);
            let before = *page;
            let applied = redo(page, &record, &walrecord::PageKey::Block(block.tag), &rules);
            if applied != Ok(Applied::Changed) || block.apply_image().is_some() {
                continue;
            }
            let input = seed(&before, raw.bytes);
            let head = input.first_chunk().unwrap();
            let (unpacked, rest) = unpack(head, &input[super::HEAD..]).unwrap();
            assert!(unpacked == before && rest == raw.bytes);
            let kind = (record.header.rmgr.to_u8(), record.info(), block.id);
            let known = shortest.entry(kind).or_insert_with(|| input.clone());
            if input.len() < known.len() {
                *known = input;
            }
        }
    }
    let directory = variable("ZENITH_SEEDS_DIR").join("redo");
    fs::create_dir_all(&directory).unwrap();
    for ((rmgr, info, block), input) in shortest {
        fs::write(directory.join(format!("{rmgr}-{info:02x}-{block}")), input).unwrap();
    }
}

//! Replays a directory of WAL and applies each record a second time, to a copy of its page, with bytes of
//! both changed at random: whatever redo answers, it must not panic. Ignored, since the WAL must be made
//! first, as for the module `consistency`, whose environment this reads, too. `ZENITH_TEST_SEED` is the
//! seed (default 1).

use std::collections::BTreeMap;
use std::error::Error;
use std::io::Write;

use crate::support::{Directory, rules};
use walrecord::{
    BlockTag, DecoderOptions, PAGE_SIZE, Page, PageKey, RawRecord, Record, RecordReader, ZERO_PAGE,
};
use walredo::{RedoError, redo};

/// A record's header, whose damage the checksum finds.
const RECORD_HEADER_SIZE: usize = 24;
/// Bytes of a record that are damaged: what comes behind is an image, mostly.
const DAMAGED_LENGTH: usize = 1000;

/// A xorshift generator: a run must repeat.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }

    /// Changes up to three bytes. Half of the times only bits flip: counts stay plausible.
    fn damage(&mut self, bytes: &mut [u8]) {
        for _ in 0..self.below(4) {
            let at = self.below(bytes.len());
            match self.below(2) {
                0 => bytes[at] = self.below(256) as u8,
                _ => bytes[at] ^= 1 << self.below(8),
            }
        }
    }

    /// Changes bytes where pages have structure: header and line pointers, items, special area.
    fn damage_page(&mut self, page: &mut Page) {
        match self.below(4) {
            0 => self.damage(&mut page[8..60]),
            1 => self.damage(&mut page[PAGE_SIZE - 24..]),
            2 => self.damage(&mut page[PAGE_SIZE - 600..]),
            _ => self.damage(&mut page[24..]),
        }
    }
}

/// What became of damaged pairs of page and record.
#[derive(Debug, Default)]
struct Outcomes {
    applied: u64,
    refused: u64,
    undecodable: u64,
}

/// Applies a damaged copy of a record to a damaged copy of a page.
fn apply_damaged(
    raw: &RawRecord<'_>,
    page: &Page,
    tag: BlockTag,
    random: &mut Random,
    outcomes: &mut Outcomes,
) -> Result<(), Box<dyn Error>> {
    let (mut page, mut bytes) = (*page, raw.bytes.to_vec());
    random.damage_page(&mut page);
    let end = bytes.len().min(RECORD_HEADER_SIZE + DAMAGED_LENGTH);
    random.damage(&mut bytes[RECORD_HEADER_SIZE..end]);
    // Past the test that would leave the page alone.
    page[..8].fill(0);
    let Ok(record) = Record::parse(raw.version, raw.start, raw.end, &bytes) else {
        outcomes.undecodable += 1;
        return Ok(());
    };
    match redo(
        &mut page,
        &record,
        &PageKey::Block(tag),
        &rules(raw.version)?,
    ) {
        Ok(_) => outcomes.applied += 1,
        Err(_) => outcomes.refused += 1,
    }
    Ok(())
}

#[test]
#[ignore = "needs WAL, see the module"]
fn no_damage_to_real_pages_and_records_makes_redo_panic() -> Result<(), Box<dyn Error>> {
    let seed = std::env::var("ZENITH_TEST_SEED").map_or(Ok(1), |text| text.parse())?;
    let mut random = Random(0x9E37_79B9_7F4A_7C15 ^ seed);
    let directory = Directory::from_env()?;
    let start = directory.start()?;
    let mut reader = RecordReader::new(directory, DecoderOptions::default());
    reader.seek(start)?;
    let mut pages: BTreeMap<BlockTag, Box<Page>> = BTreeMap::new();
    let mut outcomes = Outcomes::default();
    while let Ok(Some(raw)) = reader.next_record() {
        let record = raw.decode()?;
        for block in record.blocks() {
            let page = pages
                .entry(block.tag)
                .or_insert_with(|| Box::new(ZERO_PAGE));
            apply_damaged(&raw, page, block.tag, &mut random, &mut outcomes)?;
            let key = PageKey::Block(block.tag);
            match redo(page, &record, &key, &rules(raw.version)?) {
                Ok(_) | Err(RedoError::Unsupported { .. }) => {}
                // A page whose past is not in the WAL.
                Err(_) => page.fill(0),
            }
        }
    }
    writeln!(std::io::stderr(), "seed {seed}: {outcomes:?}")?;
    assert!(outcomes.applied > 0 && outcomes.refused > 0);
    Ok(())
}

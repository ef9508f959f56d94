//! Which relations a WAL file touched: for each, records and blocks.
//!
//! `cargo run --release -p walrecord --example relations_touched -- FILE...` with the files of
//! consecutive segments in order.

#![expect(clippy::print_stdout, reason = "an example's output is its purpose")]

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fs;

use walrecord::{BlockTag, DecoderOptions, PageHeader, RelFileLocator, StreamDecoder};

#[derive(Default)]
struct Touched {
    records: u64,
    blocks: BTreeSet<BlockTag>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let files = std::env::args().skip(1);
    let files = files.map(fs::read).collect::<Result<Vec<_>, _>>()?;
    // The first page says where the WAL is, and which version wrote it.
    let first = files.first().ok_or("usage: relations_touched FILE...")?;
    let start = PageHeader::parse(first)?.address;

    let mut relations: BTreeMap<RelFileLocator, Touched> = BTreeMap::new();
    let mut decoder = StreamDecoder::new(start, DecoderOptions::default());
    for file in &files {
        decoder.push(decoder.received(), file)?;
        while let Some(raw) = decoder.next_record()? {
            let record = raw.decode()?;
            let mut seen = None;
            for block in record.blocks() {
                let touched = relations.entry(block.tag.rel).or_default();
                touched.blocks.insert(block.tag);
                // Blocks of one relation stand side by side.
                touched.records += u64::from(seen != Some(block.tag.rel));
                seen = Some(block.tag.rel);
            }
        }
    }

    println!("from {start} to {}:", decoder.position());
    for (relation, touched) in &relations {
        println!(
            "{relation}: {} blocks by {} records",
            touched.blocks.len(),
            touched.records
        );
    }
    Ok(())
}

//! How fast WAL decodes: framing, CRC and record bodies of whole segment files.
//!
//! `cargo run --release -p walrecord --example decode_rate -- FILE...` with the files of consecutive
//! segments in order. Compare with `pg_waldump --quiet` on the same files.

#![expect(clippy::print_stdout, reason = "an example's output is its purpose")]

use std::error::Error;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::time::Instant;

use walrecord::{DecoderOptions, PageHeader, Record, StreamDecoder};

/// Read at a time. What was read should still be in the processor's cache when it is decoded.
const CHUNK: usize = 64 << 10;

fn main() -> Result<(), Box<dyn Error>> {
    let paths: Vec<String> = std::env::args().skip(1).collect();
    let first = paths.first().ok_or("usage: decode_rate FILE...")?;
    let mut header = [0; 40];
    File::open(first)?.read_exact_at(&mut header, 0)?;
    let start = PageHeader::parse(&header)?.address;

    let (began, cpu_began) = (Instant::now(), cpu_seconds()?);
    let mut decoder = StreamDecoder::new(start, DecoderOptions::default());
    let (mut records, mut blocks, mut images) = (0u64, 0u64, 0u64);
    for path in &paths {
        let file = File::open(path)?;
        let file_start = decoder.received().max(decoder.position());
        while decoder.fill(CHUNK, |at, buf| {
            file.read_at(buf, at.saturating_sub(file_start))
        })? > 0
        {
            while let Some(raw) = decoder.next_record()? {
                let mut record = Record::default();
                raw.decode_into(&mut record)?;
                records += 1;
                blocks += record.blocks().len() as u64;
                images += record.blocks().iter().filter(|b| b.image.is_some()).count() as u64;
            }
        }
    }
    let (elapsed, cpu) = (began.elapsed().as_secs_f64(), cpu_seconds()? - cpu_began);

    let bytes = decoder.position().saturating_sub(start);
    println!("{records} records, {blocks} blocks, {images} images, {bytes} bytes from {start}");
    println!("last record ends at {}", decoder.position());
    println!("{elapsed:.3} s elapsed, {cpu:.3} s CPU");
    let cpu = cpu.max(0.001);
    println!(
        "{:.2} M records and {:.0} MB per CPU second",
        records as f64 / cpu / 1e6,
        bytes as f64 / cpu / 1e6
    );
    Ok(())
}

/// CPU time that this process has used (user and system, from `/proc`; ticks of 10 ms).
fn cpu_seconds() -> Result<f64, Box<dyn Error>> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    // The name in parentheses may hold spaces. Behind it, user time is the 12th field.
    let fields = stat.rsplit(')').next().ok_or("no fields")?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks = fields.get(11..13).ok_or("too few fields")?;
    Ok(ticks
        .iter()
        .filter_map(|t| t.parse::<f64>().ok())
        .sum::<f64>()
        / 100.0)
}

//! Measures the open layer and layer files on this machine: `cargo run --release -p pagecache
//! --example measure_layers [DIR]`, with the files in DIR or the system's directory for such. Times
//! are those of the processor, so that a busy machine measures the same, except where stated.
#![expect(clippy::print_stdout, reason = "printing is what it is for")]

use std::hint::black_box;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use pagecache::storage::{Access, LocalStorage, Storage};
use pagecache::{
    BlockCache, Compression, EntryKind, Key, Layer, LayerId, LayerKind, LayerOptions, LayerSummary,
    LayerWriter, OpenLayer,
};
use walrecord::{BlockTag, ForkNumber, Lsn, PAGE_SIZE, Page, RelFileLocator};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = std::env::args_os()
        .nth(1)
        .map_or_else(std::env::temp_dir, PathBuf::from)
        .join(format!("measure-layers-{}", std::process::id()));
    let storage = LocalStorage::new(&dir)?;
    let result = measure(&storage);
    std::fs::remove_dir_all(&dir)?;
    result
}

fn measure(storage: &dyn Storage) -> Result<(), Box<dyn std::error::Error>> {
    let open = open_layer(64 << 20, 100);
    flush(storage, &open)?;
    let heap: fn(u32) -> Page = heap_page;
    for (what, make, is_heap) in [
        ("heap-like pages, 3/4 full", heap, true),
        ("pages of noise", noise_page, false),
    ] {
        for compression in [Compression::None, Compression::Lz4] {
            let name = format!("images-{compression:?}");
            let summary = images(storage, &name, compression, what, make)?;
            if is_heap {
                reads(storage, &name, &summary)?;
            }
            storage.remove_file(Path::new(&name))?;
        }
    }
    Ok(())
}

/// `wal` bytes of WAL in records of `record` bytes: one in four touches goes to a new page, the
/// others to pages touched before.
fn open_layer(wal: u64, record: u64) -> OpenLayer {
    let mut random = Random(1);
    let touches: Vec<(Key, Lsn)> = (0..wal / record)
        .map(|i| {
            let pages = 1 + (i / 4) as u32;
            let block = match i % 4 {
                0 => pages,
                _ => random.below(pages),
            };
            (key(block), Lsn::new(i * record))
        })
        .collect();
    let clock = Clock::start();
    let mut layer = OpenLayer::new(Lsn::new(0));
    for (key, start) in &touches {
        layer.insert_record(*key, *start, *start + record, EntryKind::Delta);
    }
    let seconds = clock.elapsed().as_secs_f64();
    println!(
        "open layer: {:.1} M touches a second, {:.0} bytes of memory each ({} touches of {} keys)",
        layer.len() as f64 / seconds / 1e6,
        layer.memory() as f64 / layer.len() as f64,
        layer.len(),
        layer.keys(),
    );
    layer
}

fn flush(storage: &dyn Storage, open: &OpenLayer) -> Result<(), Box<dyn std::error::Error>> {
    let mut random = Random(3);
    let mut record: Vec<u8> = (0..80).map(|i| (i * i) as u8).collect();
    let file = storage.create(Path::new("delta"))?;
    let clock = Clock::start();
    let mut writer = LayerWriter::create(file, LayerOptions::new(LayerKind::Delta))?;
    let mut sorted = open.sorted();
    let mut group = sorted.group();
    while sorted.next_group(&mut group) {
        for (key, entries) in group.keys() {
            for entry in entries {
                // A third of each record differs from the others.
                record[..28].fill_with(|| random.below(256) as u8);
                writer.add(&key, entry.lsn, entry.kind, &record)?;
            }
        }
    }
    let summary = writer.finish()?;
    println!(
        "flush: {} entries of {} bytes in {:.2} s, {:.1} MB of file",
        summary.entries,
        record.len(),
        clock.elapsed().as_secs_f64(),
        summary.file_size as f64 / 1e6,
    );
    Ok(storage.remove_file(Path::new("delta"))?)
}

fn images(
    storage: &dyn Storage,
    name: &str,
    compression: Compression,
    what: &str,
    make: fn(u32) -> Page,
) -> Result<LayerSummary, Box<dyn std::error::Error>> {
    const PAGES: u32 = 32 * 1024;
    let pages: Vec<Page> = (0..1024).map(make).collect();
    let file = storage.create(Path::new(name))?;
    let options = LayerOptions {
        compression,
        ..LayerOptions::new(LayerKind::Image)
    };
    let clock = Clock::start();
    let wall = Instant::now();
    let mut writer = LayerWriter::create(file, options)?;
    for block in 0..PAGES {
        let page = &pages[block as usize % pages.len()];
        writer.add(&key(block), Lsn::new(8), EntryKind::Image, page)?;
    }
    let added = clock.elapsed().as_secs_f64();
    let summary = writer.finish()?;
    let bytes = f64::from(PAGES) * PAGE_SIZE as f64;
    println!(
        "images, {what}, {compression:?}: {:.0} MB/s of pages ({:.0} to the end of the sync by the wall clock), file {:.0} % of them",
        bytes / added / 1e6,
        bytes / wall.elapsed().as_secs_f64() / 1e6,
        summary.file_size as f64 / bytes * 100.0,
    );
    Ok(summary)
}

fn reads(
    storage: &dyn Storage,
    name: &str,
    summary: &LayerSummary,
) -> Result<(), Box<dyn std::error::Error>> {
    let blocks = summary.entries as u32;
    for (what, capacity) in [
        ("from the operating system's cache", 0),
        ("cached", 1 << 30),
    ] {
        let file = storage.open(Path::new(name), Access::Read)?;
        let layer = Layer::open(file, LayerId::new(1), Arc::new(BlockCache::new(capacity)))?;
        let mut random = Random(2);
        let mut read = |count: u32| -> Result<f64, Box<dyn std::error::Error>> {
            let clock = Clock::start();
            for _ in 0..count {
                let key = key(random.below(blocks));
                layer.visit(&key, Lsn::INVALID, Lsn::MAX, &mut |entry| {
                    black_box(entry.value);
                    ControlFlow::Break(())
                })?;
            }
            Ok(clock.elapsed().as_secs_f64() / f64::from(count) * 1e6)
        };
        read(if capacity == 0 { 1000 } else { 200_000 })?;
        println!("  point read {what}: {:.2} us", read(50_000)?);
    }
    let file = storage.open(Path::new(name), Access::Read)?;
    let layer = Layer::open(file, LayerId::new(1), Arc::new(BlockCache::new(0)))?;
    let clock = Clock::start();
    let mut scan = layer.scan(Key::all(), Lsn::MAX);
    let mut bytes = 0;
    while let Some(entry) = scan.next()? {
        bytes += black_box(entry.value).len();
    }
    println!(
        "  scan: {:.0} MB/s",
        bytes as f64 / clock.elapsed().as_secs_f64() / 1e6
    );
    Ok(())
}

fn key(block: u32) -> Key {
    let rel = RelFileLocator {
        spc: 1663,
        db: 5,
        rel: 16384,
    };
    Key::block(BlockTag {
        rel,
        fork: ForkNumber::Main,
        block,
    })
}

/// 48 tuples of two integers and a padded text each, as a bench table has them.
fn heap_page(block: u32) -> Page {
    let mut random = Random(block.into());
    let mut page = [0; PAGE_SIZE];
    let mut upper = PAGE_SIZE;
    let tuples = 48;
    for tuple in 0..tuples {
        upper -= 128;
        let item = 24 + 4 * tuple;
        page[item..item + 2].copy_from_slice(&(upper as u16 | 1 << 15).to_le_bytes());
        page[item + 2] = 242;
        let row = &mut page[upper..upper + 121];
        row[0..4].copy_from_slice(&(1000 + block / 7).to_le_bytes());
        row[12..16].copy_from_slice(&block.to_be_bytes());
        row[16] = tuple as u8 + 1;
        row[18..24].copy_from_slice(&[4, 0, 2, 8, 24, 0]);
        row[24..28].copy_from_slice(&(block * tuples as u32 + tuple as u32).to_le_bytes());
        row[28..32].copy_from_slice(&random.below(100_000).to_le_bytes());
        row[32] = 0xAB;
        row[33..117].fill(b' ');
    }
    page[0..8].copy_from_slice(&(0x1_0000_0000 + u64::from(block) * 777).to_le_bytes());
    page[12..14].copy_from_slice(&(24 + 4 * tuples as u16).to_le_bytes());
    page[14..16].copy_from_slice(&(upper as u16).to_le_bytes());
    page[16..18].copy_from_slice(&(PAGE_SIZE as u16).to_le_bytes());
    page[18..20].copy_from_slice(&(PAGE_SIZE as u16 | 4).to_le_bytes());
    page
}

fn noise_page(block: u32) -> Page {
    let mut random = Random(u64::from(block) << 32);
    std::array::from_fn(|_| random.below(256) as u8)
}

/// The time that this thread has run (the first number of schedstat(5), nanoseconds).
struct Clock(Duration);

impl Clock {
    fn start() -> Clock {
        Clock(Clock::now())
    }

    fn now() -> Duration {
        let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
        let nanos = text.split(' ').next().and_then(|text| text.parse().ok());
        Duration::from_nanos(nanos.unwrap_or_default())
    }

    fn elapsed(&self) -> Duration {
        Clock::now() - self.0
    }
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u32) -> u32 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((((z ^ (z >> 31)) >> 32) * u64::from(bound)) >> 32) as u32
    }
}

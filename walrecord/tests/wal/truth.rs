//! Records and block references against what `pg_waldump` prints of the same WAL.

use crate::common::{Fixture, unpack};
use walrecord::{
    BlockRef, BlockTag, ImageCompression, Lsn, PAGE_SIZE, PgVersion, Record, ZERO_PAGE,
};

/// What `pg_waldump --bkp-details` prints of one record.
#[derive(Debug, PartialEq, Eq)]
struct Line {
    rmgr: String,
    length_without_images: usize,
    total_length: u32,
    xid: u32,
    start: String,
    prev: String,
    blocks: Vec<String>,
}

/// `rmgr: Heap  len (rec/tot):    233/   233, tx:  0, lsn: 0/00800068, prev 0/007FDFF0, desc: ...`
fn parse_line(line: &str) -> Line {
    let field = |before: &str, behind: &str| {
        let (_, rest) = line.split_once(before).expect(before);
        let (value, _) = rest.split_once(behind).expect(behind);
        value.trim().to_owned()
    };
    let total = field("(rec/tot):", ", tx:");
    let (length, total) = total.split_once('/').expect("two lengths");
    Line {
        rmgr: field("rmgr: ", " "),
        length_without_images: length.trim().parse().unwrap(),
        total_length: total.trim().parse().unwrap(),
        xid: field(", tx:", ",").parse().unwrap(),
        start: field(", lsn: ", ","),
        prev: field(", prev ", ","),
        blocks: Vec::new(),
    }
}

fn parse_waldump(text: &str) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for line in text.lines() {
        if line.starts_with("rmgr: ") {
            lines.push(parse_line(line));
        } else if let Some(block) = line.strip_prefix("\tblkref #") {
            lines.last_mut().unwrap().blocks.push(block.to_owned());
        } else {
            panic!("unexpected line {line:?}");
        }
    }
    lines
}

fn long_lsn(lsn: walrecord::Lsn) -> String {
    format!("{:X}/{:08X}", lsn.get() >> 32, lsn.get() & 0xFFFF_FFFF)
}

fn block_line(block: &BlockRef<'_>) -> String {
    let tag = block.tag;
    let mut line = format!(
        "{}: rel {} fork {} blk {}",
        block.id, tag.rel, tag.fork, tag.block
    );
    if let Some(image) = &block.image {
        line += if image.apply {
            " (FPW)"
        } else {
            " (FPW for WAL verification)"
        };
        line += &format!(
            "; hole: offset: {}, length: {}",
            image.hole_offset, image.hole_length
        );
        let method = match image.compression {
            ImageCompression::None => return line,
            ImageCompression::Pglz => "pglz",
            ImageCompression::Lz4 => "lz4",
            ImageCompression::Zstd => "zstd",
        };
        let saved = PAGE_SIZE - usize::from(image.hole_length) - image.bytes.len();
        line += &format!(", compression saved: {saved}, method: {method}");
    }
    line
}

fn our_line(record: &Record<'_>) -> Line {
    let images = record.blocks().iter().filter_map(|block| block.image);
    let image_bytes: usize = images.map(|image| image.bytes.len()).sum();
    Line {
        rmgr: record.header.rmgr.to_string(),
        length_without_images: record.header.total_length as usize - image_bytes,
        total_length: record.header.total_length,
        xid: record.header.xid,
        start: long_lsn(record.start),
        prev: long_lsn(record.header.prev),
        blocks: record.blocks().iter().map(block_line).collect(),
    }
}

#[test]
fn records_and_block_references_are_those_that_pg_waldump_prints() {
    let version = PgVersion::V15;
    let text = String::from_utf8(unpack(version, "bkp-details.txt.zst")).unwrap();
    let theirs = parse_waldump(&text);
    let ours = Fixture::load(version).records();
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert_eq!(our_line(&ours.raw().decode().unwrap()), *theirs);
    }
    assert_eq!(ours.len(), theirs.len());
    assert!(ours.len() > 10_000);
}

#[test]
fn every_record_decodes_and_its_bytes_follow_the_one_before() {
    for fixture in Fixture::all() {
        let records = fixture.records();
        assert!(records.len() > 5_000, "{}", fixture.version);
        for record in &records {
            let decoded = record.raw().decode().unwrap();
            assert_eq!(decoded.version, fixture.version);
        }
        let gaps = records
            .windows(2)
            .filter(|pair| {
                let after_header = pair[1].start.checked_sub(pair[0].end);
                ![Some(0), Some(24), Some(40)].contains(&after_header)
            })
            .count();
        assert_eq!(gaps, 2, "two overwritten records lie between others");
    }
}

#[test]
fn every_image_restores_to_a_page_with_the_hole_as_zeros() {
    for fixture in Fixture::all() {
        let mut seen = [0; 4];
        for record in fixture.records() {
            let decoded = record.raw().decode().unwrap();
            for block in decoded.blocks() {
                let Some(image) = &block.image else { continue };
                let mut page = [0xEE; PAGE_SIZE];
                image.restore(&mut page).unwrap();
                seen[image.compression as usize] += 1;
                check_page(&page, block, record.end.get());
            }
        }
        let expected = match fixture.version {
            PgVersion::V15 => [true; 4],
            _ => [true, true, false, false],
        };
        assert_eq!(seen.map(|count| count > 2), expected, "{}", fixture.version);
    }
}

/// A restored page is a page of Postgres: its header is plausible, and its free space is the hole.
fn check_page(page: &walrecord::Page, block: &BlockRef<'_>, end: u64) {
    if page == &ZERO_PAGE {
        return;
    }
    let u16_at = |at: usize| u16::from_le_bytes([page[at], page[at + 1]]);
    let (lower, upper, special) = (u16_at(12), u16_at(14), u16_at(16));
    assert!(lower >= 24 && lower <= upper && upper <= special && special <= 8192);
    assert_eq!(u16_at(18), 8192 | 4, "page size and layout version");
    let high = u64::from(u32::from_le_bytes(page[..4].try_into().unwrap()));
    let low = u64::from(u32::from_le_bytes(page[4..8].try_into().unwrap()));
    assert!(
        high << 32 | low < end,
        "pd_lsn is the one before the record"
    );
    let image = block.image.unwrap();
    if image.hole_length > 0 {
        assert_eq!(image.hole_offset, lower);
        assert_eq!(image.hole_length, upper - lower);
        assert!(page[lower as usize..upper as usize].iter().all(|b| *b == 0));
    }
}

#[test]
fn a_trimmed_record_keeps_header_tags_main_data_and_one_blocks_payload() {
    let mut out = Vec::new();
    for fixture in Fixture::all() {
        for record in fixture.records() {
            let whole = record.raw().decode().unwrap();
            check_trimmed(&whole, None, &mut out);
            for block in whole.blocks() {
                check_trimmed(&whole, Some(block), &mut out);
            }
        }
    }
}

#[test]
fn records_are_trimmed_and_read_from_memory_without_decoding_just_as_with_it() {
    let (mut quick, mut slow) = (Vec::new(), Vec::new());
    for fixture in Fixture::all() {
        let (mut trimmed, mut in_page) = (0, 0);
        for owned in fixture.records() {
            let raw = owned.raw();
            let record = raw.decode().unwrap();
            for block in record.blocks() {
                quick.clear();
                if raw.encode_trimmed(&block.tag, &mut quick) {
                    slow.clear();
                    record.encode_trimmed(Some(&block.tag), &mut slow);
                    assert_eq!(quick, slow, "{owned:?}");
                    trimmed += 1;
                }
                let other = BlockTag {
                    block: block.tag.block ^ 1,
                    ..block.tag
                };
                assert!(!raw.encode_trimmed(&other, &mut quick), "{owned:?}");
            }
            let read = fixture
                .slice()
                .record_in_page(owned.start, owned.version)
                .unwrap();
            if let Some(read) = read {
                assert_eq!((read.bytes, read.end), (raw.bytes, raw.end), "{owned:?}");
                in_page += 1;
            }
        }
        assert!(trimmed > 5000, "{}: {trimmed}", fixture.version);
        assert!(in_page > 10_000, "{}: {in_page}", fixture.version);
    }
}

fn check_trimmed(whole: &Record<'_>, keep: Option<&BlockRef<'_>>, out: &mut Vec<u8>) {
    out.clear();
    out.extend_from_slice(b"before");
    whole.encode_trimmed(keep.map(|block| &block.tag), out);
    let bytes = &out[b"before".len()..];
    let trimmed = Record::parse(whole.version, whole.start, whole.end, bytes).unwrap();
    assert!(bytes.len() <= whole.header.total_length as usize);
    let mut header = trimmed.header;
    assert_eq!((header.prev, header.crc), (Lsn::INVALID, 0));
    header.total_length = whole.header.total_length;
    (header.prev, header.crc) = (whole.header.prev, whole.header.crc);
    assert_eq!(header, whole.header);
    assert_eq!(trimmed.origin, whole.origin);
    assert_eq!(trimmed.top_xid, whole.top_xid);
    assert_eq!(trimmed.main_data, whole.main_data);
    assert_eq!(trimmed.blocks().len(), whole.blocks().len());
    for (block, original) in trimmed.blocks().iter().zip(whole.blocks()) {
        assert_eq!(
            (block.id, block.tag, block.will_init),
            (original.id, original.tag, original.will_init)
        );
        let kept = keep.is_some_and(|keep| keep.tag == original.tag);
        assert_eq!(block.data, original.data.filter(|_| kept));
        let parts = |block: &BlockRef<'_>| {
            block.image.map(|image| {
                let hole = (image.hole_offset, image.hole_length);
                (image.bytes.to_vec(), hole, image.compression, image.apply)
            })
        };
        assert_eq!(parts(block), parts(original).filter(|_| kept));
    }
}

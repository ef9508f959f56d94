//! Damaged WAL: whatever bytes stand there, no panic, and no record that was not written.

use std::collections::HashMap;

use crate::common::{Fixture, Owned, Random, SEGMENT, drain};
use walrecord::{
    DecoderOptions, LONG_PAGE_HEADER_SIZE, Lsn, PAGE_SIZE, PageContext, PageHeader, PgVersion,
    Record, RecordReader, StreamDecoder, WAL_PAGE_SIZE, WalSlice, first_record, record_boundary,
};

/// Damages `bytes` in one of the ways that disks, networks and attackers have.
fn damage(bytes: &mut Vec<u8>, random: &mut Random) {
    let at = random.below(bytes.len());
    let length = 1 + random.below((bytes.len() - at).min(5000));
    match random.below(8) {
        0..=3 => {
            for _ in 0..=random.below(3) {
                let at = random.below(bytes.len());
                bytes[at] ^= 1 << random.below(8);
            }
        }
        4 => bytes.truncate(at),
        5 => bytes[at..at + length].fill(0),
        6 => bytes[at..at + length].fill_with(|| random.next() as u8),
        _ => {
            // A page lost its place.
            let page = at - at % WAL_PAGE_SIZE;
            let length = WAL_PAGE_SIZE.min(bytes.len() - page);
            bytes.copy_within(page..page + length, 0);
        }
    }
}

/// Uses every record's body.
fn use_up(records: &[Owned], originals: &HashMap<Lsn, Owned>, case: &str) {
    for record in records {
        assert_eq!(originals.get(&record.start), Some(record), "{case}");
        record.raw().decode().expect(case);
    }
}

#[test]
fn damaged_wal_gives_no_record_that_was_not_written() {
    let mut stopped = 0;
    for fixture in Fixture::all() {
        let originals: HashMap<Lsn, Owned> = fixture
            .records()
            .into_iter()
            .map(|record| (record.start, record))
            .collect();
        for seed in 0..1000 {
            let case = format!("version {}, seed {seed}", fixture.version);
            let mut random = Random(seed);
            let pages = fixture.bytes.len() / WAL_PAGE_SIZE;
            let first = random.below(pages) * WAL_PAGE_SIZE;
            let end = fixture.bytes.len().min(first + 1 + random.below(100_000));
            let start = fixture.start + first as u64;
            let mut bytes = fixture.bytes[first..end].to_vec();
            damage(&mut bytes, &mut random);

            let options = DecoderOptions {
                segment_size: Some(SEGMENT),
                ..DecoderOptions::default()
            };
            let mut decoder = StreamDecoder::new(start, options);
            let mut streamed = Vec::new();
            let mut at = start;
            for chunk in bytes.chunks(1 + random.below(9000)) {
                decoder.push(at, chunk).unwrap();
                at = at + chunk.len() as u64;
                if drain(&mut decoder, &mut streamed).is_err() {
                    stopped += 1;
                    break;
                }
            }
            use_up(&streamed, &originals, &case);

            let source = WalSlice {
                start,
                bytes: &bytes,
            };
            let mut reader = RecordReader::new(source, options);
            reader.seek(start).unwrap();
            let mut read: Vec<Owned> = Vec::new();
            while let Ok(Some(raw)) = reader.next_record() {
                read.push(raw.into());
            }
            assert_eq!(read, streamed, "{case}");

            let _ = first_record(source, start);
            if let Ok(boundary) = record_boundary(source, SEGMENT, at) {
                assert_eq!(originals[&boundary.last_start].end, boundary.end, "{case}");
            }
        }
    }
    assert!(stopped > 1000, "the damage was found {stopped} times");
}

#[test]
fn a_flipped_bit_anywhere_in_a_record_is_found() {
    let fixture = Fixture::load(PgVersion::V15);
    let mut random = Random(11);
    for record in fixture.records().iter().step_by(7) {
        let in_page = WAL_PAGE_SIZE - record.start.page_offset() as usize;
        if record.bytes.len() > in_page {
            continue;
        }
        // The page from its start, for the version, and no byte behind the record.
        let page = record.start.page_start();
        let from = (page - fixture.start) as usize;
        let mut bytes = fixture.bytes[from..from + WAL_PAGE_SIZE].to_vec();
        let offset = record.start.page_offset() as usize + random.below(record.bytes.len());
        bytes[offset] ^= 1 << random.below(8);
        let source = WalSlice {
            start: page,
            bytes: &bytes,
        };
        let options = DecoderOptions {
            segment_size: Some(SEGMENT),
            ..DecoderOptions::default()
        };
        let mut reader = RecordReader::new(source, options);
        let read = reader.read(record.start).map(|raw| raw.end);
        assert!(read.is_err(), "{record:?}, byte {offset} of the page");
    }
}

#[test]
fn damaged_bodies_decode_or_fail_but_never_panic() {
    let mut failed = 0;
    for fixture in Fixture::all() {
        let mut random = Random(13);
        let mut page = [0; PAGE_SIZE];
        let mut out = Vec::new();
        for record in fixture.records() {
            let mut bytes = record.bytes.clone();
            // Mostly in the headers, where the lengths are.
            let reach = if random.below(3) == 0 {
                bytes.len()
            } else {
                bytes.len().min(80)
            };
            for _ in 0..=random.below(4) {
                bytes[random.below(reach)] = random.next() as u8;
            }
            if random.below(3) == 0 {
                bytes.truncate(random.below(bytes.len()));
            }
            // The length fits, so that more than it is looked at.
            let length = (bytes.len() as u32).to_le_bytes();
            if let Some(field) = bytes.get_mut(..4) {
                field.copy_from_slice(&length);
            }
            match Record::parse(record.version, record.start, record.end, &bytes) {
                Err(_) => failed += 1,
                Ok(decoded) => {
                    for block in decoded.blocks() {
                        if let Some(image) = &block.image {
                            failed += usize::from(image.restore(&mut page).is_err());
                        }
                        decoded.encode_trimmed(Some(&block.tag), &mut out);
                        out.clear();
                    }
                }
            }
        }
    }
    assert!(failed > 1000, "{failed} bodies were found damaged");
}

#[test]
fn damaged_images_restore_or_fail_but_never_panic() {
    let mut failed = [0; 4];
    let mut random = Random(17);
    let fixture = Fixture::load(PgVersion::V15);
    for record in fixture.records() {
        let decoded = record.raw().decode().unwrap();
        for image in decoded.blocks().iter().filter_map(|block| block.image) {
            for _ in 0..5 {
                let mut bytes = image.bytes.to_vec();
                for _ in 0..=random.below(3) {
                    let at = random.below(bytes.len());
                    bytes[at] = random.next() as u8;
                }
                if random.below(3) == 0 {
                    bytes.truncate(random.below(bytes.len()));
                }
                let mut image = image;
                image.bytes = &bytes;
                if random.below(8) == 0 {
                    image.hole_length = random.next() as u16;
                }
                let restored = image.restore(&mut [0; PAGE_SIZE]);
                failed[image.compression as usize] += usize::from(restored.is_err());
            }
        }
    }
    assert!(failed.iter().all(|count| *count > 10), "{failed:?}");
}

#[test]
fn a_damaged_page_header_is_found_unless_the_bit_has_no_fixed_value() {
    let fixture = Fixture::load(PgVersion::V15);
    let header = &fixture.bytes[..LONG_PAGE_HEADER_SIZE];
    let known = PageHeader::parse(header).unwrap();
    let segment = known.segment.unwrap();
    let context = PageContext {
        version: Some(known.version),
        segment_size: Some(segment.segment_size),
        system_identifier: Some(segment.system_identifier),
        timeline: Some(known.timeline),
    };
    assert_eq!(
        PageHeader::parse_at(fixture.start, header, &context),
        Ok(known)
    );
    for bit in 0..LONG_PAGE_HEADER_SIZE * 8 {
        let mut bytes = header.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let found = PageHeader::parse_at(fixture.start, &bytes, &context);
        // A later timeline, the continuation's length and padding may be anything; of the flags all
        // but the kind of header.
        let free =
            matches!(bit / 8, 4..8 | 16..24) || (bit / 8 == 2 && bit % 8 != 1 && bit % 8 < 4);
        assert!(found.is_err() || free, "bit {bit}: {found:?}");
    }
    for length in 0..LONG_PAGE_HEADER_SIZE {
        assert!(PageHeader::parse(&header[..length]).is_err());
    }
}

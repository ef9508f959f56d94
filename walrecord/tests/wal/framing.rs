//! How records lie in pages: any cut of the stream, any start, any position.

use crate::common::{Fixture, Owned, Random, SEGMENT, drain};
use walrecord::{
    Boundary, DecoderOptions, Lsn, PgVersion, ReadError, Record, RecordReader, Rmgr, RmgrId,
    StreamDecoder, WAL_PAGE_SIZE, WalError, WalSlice, WalSource, first_record, record_boundary,
};

const PAGE: u64 = WAL_PAGE_SIZE as u64;

/// Pushes the fixture in pieces of `size()` bytes and takes records out after each.
fn by_chunks(fixture: &Fixture, mut size: impl FnMut() -> usize) -> Vec<Owned> {
    let mut decoder = StreamDecoder::new(fixture.start, DecoderOptions::default());
    let (mut at, mut rest, mut records) = (fixture.start, &fixture.bytes[..], Vec::new());
    while !rest.is_empty() {
        let (chunk, behind) = rest.split_at(size().min(rest.len()));
        decoder.push(at, chunk).unwrap();
        at = at + chunk.len() as u64;
        rest = behind;
        if drain(&mut decoder, &mut records).is_err() {
            // A recycled segment's old content.
            break;
        }
        assert_eq!(
            records.last().map_or(fixture.start, |last| last.end),
            decoder.position()
        );
    }
    records
}

#[test]
fn any_chunking_gives_the_same_records_as_the_whole() {
    for fixture in Fixture::all() {
        let whole = fixture.records();
        for seed in 0..3 {
            let mut random = Random(seed);
            // Mostly small, some large: record parts as well as many records at once.
            let mut size = || {
                let most = if random.below(50) == 0 { 100_000 } else { 300 };
                1 + random.below(most)
            };
            assert!(by_chunks(&fixture, &mut size) == whole, "seed {seed}");
        }
    }
    let fixture = Fixture::load(PgVersion::V15);
    assert!(by_chunks(&fixture, || 1) == fixture.records(), "bytewise");
}

#[test]
fn filling_the_decoder_gives_the_same_records_as_pushing() {
    for fixture in Fixture::all() {
        let mut random = Random(4);
        let mut decoder = StreamDecoder::new(fixture.start, DecoderOptions::default());
        let mut records = Vec::new();
        loop {
            // A source may give less than it is asked for.
            let (count, given) = (1 + random.below(20_000), 1 + random.below(20_000));
            let got = decoder
                .fill(count, |lsn, buf| {
                    let at = lsn.saturating_sub(fixture.start) as usize;
                    let rest = fixture.bytes.get(at..).unwrap_or(&[]);
                    let got = rest.len().min(buf.len()).min(given);
                    buf[..got].copy_from_slice(&rest[..got]);
                    // What is in the buffer behind that must not be taken for WAL.
                    buf[got..].fill(0xAA);
                    Ok::<_, WalError>(got)
                })
                .unwrap();
            if got == 0 || drain(&mut decoder, &mut records).is_err() {
                break;
            }
        }
        assert!(records == fixture.records());
    }
}

#[test]
fn a_record_decoded_into_a_used_one_keeps_nothing_of_it() {
    let fixture = Fixture::load(PgVersion::V15);
    let records = fixture.records();
    let mut reused = Record::default();
    for record in &records {
        let fresh = record.raw().decode().unwrap();
        record.raw().decode_into(&mut reused).unwrap();
        assert_eq!(format!("{reused:?}"), format!("{fresh:?}"));
    }
}

#[test]
fn reading_a_slice_gives_the_same_records_as_the_stream() {
    for fixture in Fixture::all() {
        let mut reader = RecordReader::new(fixture.slice(), DecoderOptions::default());
        reader.seek(fixture.start).unwrap();
        for record in fixture.records() {
            let read = Owned::from(reader.next_record().unwrap().unwrap());
            assert_eq!(read, record);
            assert_eq!(reader.position(), record.end);
            assert_eq!(reader.previous(), Some(record.start));
        }
        assert!(!matches!(reader.next_record(), Ok(Some(_))));
    }
}

#[test]
fn any_record_is_read_by_its_start() {
    for fixture in Fixture::all() {
        let mut records = fixture.records();
        let mut random = Random(7);
        let options = DecoderOptions {
            segment_size: Some(SEGMENT),
            ..DecoderOptions::default()
        };
        for shuffle in (1..records.len()).rev() {
            records.swap(shuffle, random.below(shuffle + 1));
        }
        let mut reader = RecordReader::new(fixture.slice(), options);
        for record in &records {
            assert_eq!(Owned::from(reader.read(record.start).unwrap()), *record);
        }
    }
}

#[test]
fn a_place_inside_a_record_is_no_record() {
    let fixture = Fixture::load(PgVersion::V15);
    let options = DecoderOptions {
        segment_size: Some(SEGMENT),
        ..DecoderOptions::default()
    };
    let mut reader = RecordReader::new(fixture.slice(), options);
    for record in fixture.records().iter().step_by(50) {
        for inside in (8..record.bytes.len() as u64).step_by(8).take(20) {
            let at = record.start + inside;
            assert!(reader.read(at).is_err(), "{at}");
        }
        assert_eq!(
            reader.read(record.start + 1).unwrap_err(),
            if (record.start.get() + 1) % PAGE < 24 {
                unreachable!("records start behind page headers")
            } else {
                ReadError::Wal(WalError::NotARecordStart(record.start + 1))
            }
        );
    }
    // A page boundary inside a record: nothing starts there.
    let crossing = fixture.records().into_iter();
    let long = crossing
        .max_by_key(|record| record.bytes.len())
        .expect("records");
    let page = long.start.page_start() + PAGE;
    assert_eq!(
        reader.read(page).unwrap_err(),
        ReadError::Wal(WalError::NotARecordStart(page))
    );
}

#[test]
fn a_stream_starts_at_any_page_and_at_any_record() {
    for fixture in Fixture::all() {
        let records = fixture.records();
        let end = records.last().unwrap().end;
        for page in (fixture.start.get()..end.get()).step_by(PAGE as usize) {
            let start = Lsn::new(page);
            let expected = records.iter().find(|record| record.start >= start);
            let unused = fixture.from(start)[..24].iter().all(|byte| *byte == 0);
            if unused {
                // Behind a switch.
                assert_eq!(first_record(fixture.slice(), start), Ok(None));
                continue;
            }
            // No more than is needed; it would be copied for each page.
            let needed = expected.map_or(0, |record| (record.end - start) as usize);
            let rest = fixture.from(start);
            let bytes = &rest[..needed.min(rest.len())];
            let mut decoder = StreamDecoder::new(start, options_with_size());
            decoder.push(start, bytes).unwrap();
            let found = decoder.next_record().unwrap().map(Owned::from);
            assert_eq!(found.as_ref(), expected);
            let first = first_record(fixture.slice(), start).unwrap();
            assert_eq!(first, expected.map(|record| record.start));
        }
        for (index, record) in records.iter().enumerate().step_by(97).skip(1) {
            let options = DecoderOptions {
                version: Some(fixture.version),
                ..options_with_size()
            };
            let before = records[index - 1].start;
            let bytes = &fixture.from(record.start)[..(record.end - record.start) as usize];
            let mut decoder = StreamDecoder::new(record.start, options).with_previous(before);
            decoder.push(record.start, bytes).unwrap();
            let found = decoder.next_record().unwrap().map(Owned::from);
            assert_eq!(found.as_ref(), Some(record));

            let mut decoder = StreamDecoder::new(record.start, options).with_previous(before + 8);
            decoder.push(record.start, bytes).unwrap();
            let expected = WalError::PrevLink {
                at: record.start,
                found: before,
                expected: before + 8,
            };
            assert_eq!(decoder.next_record().unwrap_err(), expected);
        }
    }
}

fn options_with_size() -> DecoderOptions {
    DecoderOptions {
        segment_size: Some(SEGMENT),
        ..DecoderOptions::default()
    }
}

#[test]
fn a_position_means_the_end_of_the_last_record_that_ends_at_or_below_it() {
    for fixture in Fixture::all() {
        let records = fixture.records();
        let end = records.last().unwrap().end;
        let mut positions: Vec<u64> = Vec::new();
        for record in records.iter().step_by(11) {
            positions.extend([-8i64, -1, 0, 1, 8].map(|d| record.end.get().wrapping_add_signed(d)));
        }
        for page in (fixture.start.get()..end.get()).step_by(3 * PAGE as usize) {
            positions.extend([0, 1, 23, 24, 25, 39, 40, 41].map(|offset| page + offset));
        }
        let mut random = Random(3);
        let span = (end - fixture.start) as usize;
        positions.extend((0..300).map(|_| fixture.start.get() + random.below(span) as u64));
        positions.retain(|position| *position <= end.get());
        for position in positions {
            let lsn = Lsn::new(position);
            let expected = records
                .partition_point(|record| record.end <= lsn)
                .checked_sub(1)
                .map(|index| &records[index])
                .map(|record| Boundary {
                    end: record.end,
                    last_start: record.start,
                })
                .ok_or(ReadError::Missing(lsn));
            let found = record_boundary(fixture.slice(), SEGMENT, lsn);
            assert_eq!(found, expected, "at {lsn} of {}", fixture.version);
        }
    }
}

#[test]
fn a_place_just_behind_a_page_header_equals_the_page_boundary() {
    let mut seen = 0;
    for fixture in Fixture::all() {
        for record in fixture.records() {
            if record.end.page_offset() != 0 || record.end.segment_offset(SEGMENT) == 0 {
                continue;
            }
            seen += 1;
            let expected = Boundary {
                end: record.end,
                last_start: record.start,
            };
            // The page behind it need not be there yet.
            let there = (record.end - fixture.start) as usize;
            let until = WalSlice {
                start: fixture.start,
                bytes: &fixture.bytes[..there],
            };
            for lsn in [record.end, record.end + 24] {
                assert_eq!(record_boundary(until, SEGMENT, lsn), Ok(expected));
                assert_eq!(record_boundary(fixture.slice(), SEGMENT, lsn), Ok(expected));
            }
        }
    }
    assert!(seen > 0, "no record of the fixtures ends with its page");
}

#[test]
fn a_switch_ends_with_its_segment() {
    for fixture in Fixture::all() {
        let records = fixture.records();
        let switches: Vec<&Owned> = records
            .iter()
            .filter(|record| {
                let header = record.raw().decode().unwrap().header;
                header.rmgr == RmgrId::BuiltIn(Rmgr::Xlog) && header.rmgr_info() == 0x40
            })
            .collect();
        assert!(switches.len() >= 2);
        for switch in switches {
            assert_eq!(
                switch.end,
                switch.start.segment_start(SEGMENT) + u64::from(SEGMENT)
            );
        }
    }
}

#[test]
fn an_abandoned_record_is_dropped_and_what_overwrites_it_follows_the_record_before() {
    for fixture in Fixture::all() {
        let records = fixture.records();
        let is_overwrite = |record: &Owned| {
            let header = record.raw().decode().unwrap().header;
            header.rmgr == RmgrId::BuiltIn(Rmgr::Xlog) && header.rmgr_info() == 0xD0
        };
        let index = records.iter().position(is_overwrite).expect("an overwrite");
        let (before, record) = (&records[index - 1], &records[index]);
        let decoded = record.raw().decode().unwrap();
        assert_eq!(decoded.header.prev, before.start);
        assert_eq!(record.start.page_offset(), 40);
        let lost = u64::from_le_bytes(decoded.main_data[..8].try_into().unwrap());
        // It began where the record before ends, and reached to the end of that segment.
        assert!(Lsn::new(lost).saturating_sub(before.end) <= 40);
        assert!(record.start - before.end > 100_000);
    }
}

/// Shows only what was written so far, as a server's WAL grows.
struct Growing<'a> {
    slice: WalSlice<'a>,
    end: std::cell::Cell<Lsn>,
    zeros_behind: bool,
}

impl WalSource for &Growing<'_> {
    type Error = std::convert::Infallible;

    fn read_at(&self, lsn: Lsn, buf: &mut [u8]) -> Result<usize, Self::Error> {
        let there = self.end.get().saturating_sub(lsn) as usize;
        if self.zeros_behind {
            buf.fill(0);
            let count = there.min(buf.len());
            self.slice.read_at(lsn, &mut buf[..count])?;
            return Ok(buf.len());
        }
        let count = there.min(buf.len());
        self.slice.read_at(lsn, &mut buf[..count])
    }
}

#[test]
fn a_reader_goes_on_where_the_wal_ended_when_more_was_written() {
    let fixture = Fixture::load(PgVersion::V15);
    let records = fixture.records();
    for zeros_behind in [false, true] {
        let growing = Growing {
            slice: fixture.slice(),
            end: std::cell::Cell::new(fixture.start),
            zeros_behind,
        };
        let mut reader = RecordReader::new(&growing, DecoderOptions::default());
        reader.seek(fixture.start).unwrap();
        let mut random = Random(5);
        let mut expected = records.iter();
        while growing.end.get() < records.last().unwrap().end {
            // A server writes at least whole multiples of 8, so that no length is torn.
            let more = 8 * (1 + random.below(3000) as u64);
            growing.end.set(growing.end.get() + more);
            // With zeros behind, a record cut off by them is damaged, not incomplete.
            loop {
                match reader.next_record() {
                    Ok(Some(raw)) => assert_eq!(Some(&Owned::from(raw)), expected.next()),
                    Ok(None) => break,
                    Err(error) => {
                        assert!(zeros_behind, "{error}");
                        let position = reader.position();
                        reader.seek(position).unwrap();
                        break;
                    }
                }
            }
        }
        let left = expected.len();
        assert_eq!(left, 0, "zeros behind: {zeros_behind}");
    }
}

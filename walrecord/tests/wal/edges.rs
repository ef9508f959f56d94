//! The rare cases of framing, each written out, and every error with what it says.

use crate::common::Owned;
use crate::writer::{LONG, OVERWRITES, Writer};
use walrecord::{
    Boundary, DecoderOptions, Lsn, PageError, PgVersion, Record, RecordError, Rmgr, RmgrId,
    StreamDecoder, WAL_PAGE_SIZE, WalError, WalSlice, first_record, record_boundary,
};

const PAGE: u64 = WAL_PAGE_SIZE as u64;
const START: Lsn = Lsn::new(0x300_0000);
const XLOG: RmgrId = RmgrId::BuiltIn(Rmgr::Xlog);
const SWITCH: u8 = 0x40;

/// Decodes in one push.
fn decode(writer: &Writer) -> (Vec<Owned>, Result<(), WalError>, StreamDecoder) {
    decode_with(writer, DecoderOptions::default())
}

fn decode_with(
    writer: &Writer,
    options: DecoderOptions,
) -> (Vec<Owned>, Result<(), WalError>, StreamDecoder) {
    let mut decoder = StreamDecoder::new(writer.start, options);
    decoder.push(writer.start, &writer.bytes).unwrap();
    let mut records = Vec::new();
    let result = crate::common::drain(&mut decoder, &mut records);
    (records, result, decoder)
}

/// What decoding stops with. It is said again by the next call, even after more bytes.
fn error(writer: &Writer) -> WalError {
    let (_, result, mut decoder) = decode(writer);
    let error = result.unwrap_err();
    let position = decoder.position();
    assert_eq!(decoder.next_record().unwrap_err(), error);
    decoder.push(writer.end(), &[0; 64]).unwrap();
    assert_eq!(decoder.next_record().unwrap_err(), error);
    assert_eq!(decoder.position(), position);
    error
}

fn page_error(writer: &Writer, at: Lsn) -> PageError {
    match error(writer) {
        WalError::Page { at: found, error } => {
            assert_eq!(found, at);
            error
        }
        other => panic!("{other}"),
    }
}

#[test]
fn a_record_header_may_be_split_by_a_page_boundary() {
    for left in [8, 16, 24] {
        let mut writer = Writer::new(START);
        writer.fill_page_but(left);
        let split = writer.message(100);
        let after = writer.message(40);
        assert_eq!(split + left as u64, START + PAGE);
        let (records, result, decoder) = decode(&writer);
        result.unwrap();
        let starts: Vec<Lsn> = records.iter().map(|record| record.start).collect();
        assert_eq!(starts[1..], [split, after]);
        assert_eq!(decoder.position(), writer.end());
        assert_eq!(decoder.previous(), Some(after));
    }
}

#[test]
fn a_record_that_ends_with_its_page_ends_at_the_page_boundary() {
    let mut writer = Writer::new(START);
    writer.fill_page_but(0);
    // One that crosses, and one of padding only at the page's end.
    writer.message(8192 - 24 + 48);
    writer.fill_page_but(0);
    writer.message(8192 - 24 - 3);
    let last = writer.message(30);
    let (records, result, _) = decode(&writer);
    result.unwrap();
    let ends: Vec<Lsn> = records.iter().map(|record| record.end).collect();
    assert_eq!(ends[0], START + PAGE);
    assert_eq!(ends[3], START + 4 * PAGE);
    assert_eq!(last, START + 4 * PAGE + 24);
}

#[test]
fn behind_a_page_that_a_record_fills_the_next_one_begins_behind_the_next_header() {
    let mut writer = Writer::new(START);
    writer.fill_page_but(24);
    writer.message(24 + 8192 - 24);
    let next = writer.message(40);
    let source = WalSlice {
        start: START,
        bytes: &writer.bytes,
    };
    assert_eq!(next, START + 2 * PAGE + 24);
    assert_eq!(first_record(source, START + PAGE), Ok(Some(next)));
    assert_eq!(first_record(source, START + 3 * PAGE), Ok(None));
}

#[test]
fn a_boundary_does_not_depend_on_what_is_behind_the_position() {
    let mut writer = Writer::new(START);
    let last_start = writer.message(100);
    let end = writer.end();
    writer.message(100);
    writer.at(end)[..64].fill(0xFF);
    let source = WalSlice {
        start: START,
        bytes: &writer.bytes,
    };
    let expected = Ok(Boundary { end, last_start });
    assert_eq!(record_boundary(source, 1 << 20, end), expected);
}

#[test]
fn a_trimmed_record_tells_relations_apart() {
    // Two blocks of two relations, then one more of the second; data in the first and last.
    let mut bytes = vec![0; 24];
    bytes[17] = 10;
    for (id, flags, length, rel) in [
        (0, 0x20, 3, Some(1)),
        (1, 0x00, 0, Some(2)),
        (4, 0xA0, 2, None),
    ] {
        bytes.extend_from_slice(&[id, flags, length, 0]);
        for part in rel.map_or(vec![], |rel| vec![1663, 5, rel]) {
            bytes.extend_from_slice(&u32::to_le_bytes(part));
        }
        bytes.extend_from_slice(&u32::to_le_bytes(7 + u32::from(id)));
    }
    bytes.extend_from_slice(b"\xFF\x04abcdemain");
    let length = bytes.len() as u32;
    bytes[..4].copy_from_slice(&length.to_le_bytes());
    let record = Record::parse(PgVersion::V15, START, START + 200, &bytes).unwrap();
    let tags = |record: &Record<'_>| record.blocks().iter().map(|b| b.tag).collect::<Vec<_>>();
    let shown: Vec<String> = tags(&record).iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        ["1663/5/1.main:7", "1663/5/2.main:8", "1663/5/2.main:11"]
    );
    assert_eq!(record.main_data, b"main");
    for keep in record.blocks() {
        let mut out = Vec::new();
        record.encode_trimmed(Some(&keep.tag), &mut out);
        let trimmed = Record::parse(PgVersion::V15, START, START + 200, &out).unwrap();
        assert_eq!(tags(&trimmed), tags(&record));
        assert_eq!(trimmed.block(keep.id).unwrap().data, keep.data);
        assert_eq!(trimmed.main_data, b"main");
    }
}

#[test]
fn a_switch_skips_the_rest_of_its_segment_whatever_stands_there() {
    let mut writer = Writer::new(START);
    let switch = writer.record(XLOG, SWITCH, &[]);
    writer.bytes.resize(1 << 20, 0x5A);
    let next = writer.message(50);
    let (records, result, _) = decode(&writer);
    result.unwrap();
    assert_eq!(records[0].end, START + (1 << 20));
    assert_eq!((records[0].start, records[1].start), (switch, next));
    assert_eq!(next, START + (1 << 20) + 40);

    // One that ends with its segment skips nothing.
    let mut writer = Writer::new(START + ((1 << 20) - PAGE));
    writer.fill_page_but(24);
    writer.record(XLOG, SWITCH, &[]);
    writer.message(50);
    let options = DecoderOptions {
        segment_size: Some(1 << 20),
        ..DecoderOptions::default()
    };
    let (records, result, _) = decode_with(&writer, options);
    result.unwrap();
    assert_eq!(records[1].end, START + (1 << 20));
    assert_eq!(records.len(), 3);
}

#[test]
fn an_overwritten_record_gives_way_to_what_follows() {
    let mut writer = Writer::new(START);
    let before = writer.message(100);
    let abandoned = writer.message(20_000);
    writer.bytes.truncate(2 * WAL_PAGE_SIZE);
    writer.previous = before;
    writer.flags = OVERWRITES;
    let after = writer.message(100);
    writer.flags = 0;
    let (records, result, _) = decode(&writer);
    result.unwrap();
    let starts: Vec<Lsn> = records.iter().map(|record| record.start).collect();
    assert_eq!(starts, [before, after]);
    assert!(abandoned < after);

    // So it does if decoding starts inside the abandoned record.
    let mut decoder = StreamDecoder::new(START + PAGE, DecoderOptions::default());
    decoder
        .push(START + PAGE, &writer.bytes[WAL_PAGE_SIZE..])
        .unwrap();
    assert_eq!(decoder.next_record().unwrap().unwrap().start, after);
}

#[test]
fn zeros_where_a_record_or_page_should_stand_are_the_end() {
    for (at_boundary, zeros) in [(false, 4), (false, 10_000), (true, 24), (true, 10_000)] {
        let mut writer = Writer::new(START);
        if at_boundary {
            writer.fill_page_but(0);
        } else {
            writer.message(100);
        }
        let end = writer.end();
        writer.bytes.extend(vec![0; zeros]);
        let (records, result, mut decoder) = decode(&writer);
        result.unwrap();
        assert_eq!(records.len(), 1);
        assert!(decoder.ended());
        assert_eq!(decoder.position(), end);
        // More is taken, and leads to nothing.
        decoder.push(writer.end(), &[1; 5000]).unwrap();
        assert!(decoder.next_record().unwrap().is_none());
        assert_eq!(decoder.received(), writer.end() + 5000);
    }
}

#[test]
fn what_is_cut_off_is_waited_for() {
    let mut writer = Writer::new(START);
    writer.message(100);
    writer.message(20_000);
    for length in 0..writer.bytes.len() {
        let mut decoder = StreamDecoder::new(START, DecoderOptions::default());
        decoder.push(START, &writer.bytes[..length]).unwrap();
        let whole = length >= 140;
        assert_eq!(decoder.next_record().unwrap().is_some(), whole);
        assert!(!whole || decoder.next_record().unwrap().is_none());
        assert!(!decoder.ended());
    }
}

#[test]
fn bytes_out_of_order_are_refused_and_leave_the_decoder_as_it_was() {
    let mut writer = Writer::new(START);
    writer.message(100);
    let mut decoder = StreamDecoder::new(START, DecoderOptions::default());
    for found in [START + 8, Lsn::new(START.get() - 8), Lsn::MAX] {
        let expected = START;
        let gap = WalError::Gap { expected, found };
        assert_eq!(decoder.push(found, &writer.bytes), Err(gap));
    }
    decoder.push(START, &writer.bytes).unwrap();
    assert!(decoder.next_record().unwrap().is_some());

    let top = Lsn::new(u64::MAX - 7);
    let mut decoder = StreamDecoder::new(top, DecoderOptions::default());
    assert_eq!(decoder.push(top, &[0]), Err(WalError::PositionRange(top)));
}

#[test]
fn a_start_that_cannot_be_one_is_an_error() {
    let mut writer = Writer::new(START);
    writer.message(100);
    for (offset, options, expected) in [
        (41, version(), WalError::NotARecordStart(START + 41)),
        (8, version(), WalError::NotARecordStart(START + 8)),
        (
            40,
            DecoderOptions::default(),
            WalError::VersionUnknown(START + 40),
        ),
    ] {
        let mut decoder = StreamDecoder::new(START + offset, options);
        let bytes = &writer.bytes[offset as usize..];
        decoder.push(START + offset, bytes).unwrap();
        assert_eq!(decoder.next_record().unwrap_err(), expected);
    }
    // From inside a page, the segment size is unknown until a segment begins.
    let mut writer = Writer::new(START + PAGE);
    let switch = writer.record(XLOG, SWITCH, &[]);
    assert_eq!(error(&writer), WalError::SegmentSizeUnknown(switch));
}

fn version() -> DecoderOptions {
    DecoderOptions {
        version: Some(PgVersion::V15),
        ..DecoderOptions::default()
    }
}

#[test]
fn continuations_must_fit_the_open_record() {
    // A page that continues nothing.
    let mut writer = Writer::new(START);
    writer.fill_page_but(0);
    writer.page_header(100);
    let page = START + PAGE;
    assert_eq!(error(&writer), WalError::UnexpectedContinuation { page });

    // A page that does not continue the open record.
    let mut writer = Writer::new(START);
    writer.fill_page_but(96);
    let record = writer.message(300);
    writer.at(page)[2] = 0;
    let expected = WalError::NoContinuation { record, page };
    assert_eq!(error(&writer), expected);

    // One that continues it with another length.
    let mut writer = Writer::new(START);
    writer.fill_page_but(96);
    writer.message(300);
    writer.at(page)[16] += 1;
    let expected = WalError::ContinuationLength {
        record,
        page,
        expected: 204,
        found: 205,
    };
    assert_eq!(error(&writer), expected);
}

#[test]
fn a_wrong_record_header_is_an_error_as_soon_as_it_is_there() {
    type Change = fn(&mut [u8]);
    let at = START + 40;
    let record = |error| WalError::Record { at, error };
    let cases: [(Change, WalError); 4] = [
        (
            |b| b[..2].copy_from_slice(&[23, 0]),
            record(RecordError::Length(23)),
        ),
        (|b| b[3] = 0x40, record(RecordError::Length(0x4000_7530))),
        (|b| b[17] = 22, record(RecordError::UnknownRmgr(22))),
        (
            |b| b[8..16].copy_from_slice(&(START + 40).get().to_le_bytes()),
            WalError::PrevNotBefore { at, found: at },
        ),
    ];
    for (change, expected) in cases {
        let mut writer = Writer::new(START);
        writer.message(30_000);
        change(writer.at(at));
        // Long before all of the record is there.
        writer.bytes.truncate(9000);
        assert_eq!(error(&writer), expected);
    }
}

#[test]
fn links_and_sums_are_checked() {
    let mut writer = Writer::new(START);
    let first = writer.message(100);
    writer.previous = first + 8;
    let at = writer.message(100);
    let expected = WalError::PrevLink {
        at,
        found: first + 8,
        expected: first,
    };
    assert_eq!(error(&writer), expected);

    for length in [100, 20_000] {
        let mut writer = Writer::new(START);
        let at = writer.message(length);
        *writer.bytes.iter_mut().nth_back(8).unwrap() ^= 1;
        match error(&writer) {
            WalError::Crc {
                at: found,
                stored,
                computed,
            } => assert!(found == at && stored != computed),
            other => panic!("{other}"),
        }
    }
}

#[test]
fn pages_must_be_those_of_their_place_and_of_one_wal() {
    let second = START + PAGE;
    let third = START + (1 << 20);
    let written = |change: fn(&mut Writer)| {
        let mut writer = Writer::new(START);
        writer.fill_page_but(0);
        change(&mut writer);
        writer.message(100);
        writer
    };
    type Change = fn(&mut Writer);
    let cases: [(Change, PageError); 7] = [
        (
            |w| w.version = PgVersion::V16,
            PageError::Version {
                found: PgVersion::V16,
                expected: PgVersion::V15,
            },
        ),
        (
            |w| w.timeline = 0,
            PageError::Timeline {
                found: 0,
                before: 1,
            },
        ),
        (|w| w.flags = 0x10, PageError::Flags(0x10)),
        (
            |w| w.start = w.start + PAGE,
            PageError::Address(START + 2 * PAGE),
        ),
        // What would be the long header's fields is the record behind the short one: its `prev`.
        (|w| w.flags = LONG, PageError::SegmentSize(0x300_0028)),
        (
            |w| w.segment_size = PAGE as u32,
            PageError::SegmentSize(PAGE as u32),
        ),
        (|w| w.flags = 1, PageError::EmptyContinuation),
    ];
    for (change, expected) in cases {
        let mut writer = written(change);
        writer.start = START;
        assert_eq!(page_error(&writer, second), expected);
    }

    // A later timeline is one after a promotion.
    let (records, result, decoder) = decode(&written(|w| w.timeline = 5));
    result.unwrap();
    assert_eq!((records.len(), decoder.timeline()), (2, Some(5)));

    type Bytes = fn(&mut [u8]);
    let cases: [(Bytes, PageError); 6] = [
        (|b| b[0] = 0, PageError::Magic(0xD100)),
        (|b| b[..2].reverse(), PageError::ByteOrder),
        (|b| b[2] = 0, PageError::HeaderKind { long: false }),
        (
            |b| b[24] ^= 1,
            PageError::SystemIdentifier {
                found: 7_000_000_000_000_000_000,
                expected: 7_000_000_000_000_000_001,
            },
        ),
        (
            |b| b[34] = 0x20,
            PageError::SegmentSizeChanged {
                found: 2 << 20,
                expected: 1 << 20,
            },
        ),
        (|b| b[37] = 0x40, PageError::PageSize(16384)),
    ];
    for (change, expected) in cases {
        let mut writer = Writer::new(START);
        writer.record(XLOG, SWITCH, &[]);
        writer.bytes.resize(1 << 20, 0);
        writer.message(100);
        change(writer.at(third));
        assert_eq!(page_error(&writer, third), expected);
    }
}

#[test]
fn what_the_caller_knows_is_held_against_the_first_page() {
    let mut writer = Writer::new(START);
    writer.message(100);
    let options = DecoderOptions {
        segment_size: Some(1 << 20),
        system_identifier: Some(writer.system_identifier),
        version: Some(PgVersion::V15),
    };
    let (records, result, decoder) = decode_with(&writer, options);
    assert_eq!((records.len(), result), (1, Ok(())));
    assert_eq!(decoder.segment_size(), options.segment_size);
    assert_eq!(decoder.system_identifier(), options.system_identifier);
    assert_eq!(decoder.version(), options.version);
    for options in [
        DecoderOptions {
            segment_size: Some(16 << 20),
            ..options
        },
        DecoderOptions {
            system_identifier: Some(1),
            ..options
        },
        DecoderOptions {
            version: Some(PgVersion::V14),
            ..options
        },
    ] {
        let (records, result, _) = decode_with(&writer, options);
        assert!(records.is_empty());
        assert!(matches!(result, Err(WalError::Page { at: START, .. })));
    }
}

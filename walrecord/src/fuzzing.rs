//! The bodies of the fuzz targets: each takes any bytes, and panics if a decoder breaks a promise. Serves
//! `fuzz/fuzz_targets` and, on the committed corpora, the tests below; not part of the crate otherwise.

use crate::describe::{self, Text};
use crate::{
    BlockImage, DecoderOptions, EffectContext, ForkNumber, ImageCompression, LONG_PAGE_HEADER_SIZE,
    Lsn, PAGE_SIZE, PageHeader, PgVersion, RECORD_HEADER_SIZE, Record, RecordReader, RedoRules,
    RelFileLocator, SHORT_PAGE_HEADER_SIZE, SegmentId, StreamDecoder, TenantId, WAL_PAGE_SIZE,
    WalError, WalSlice, effects, first_record, record_boundary, rmgr,
};

#[path = "../tests/bodies/walk.rs"]
mod walk;

/// A fuzz target: its name, which is that of its corpus, and its body.
pub type Target = (&'static str, fn(&[u8]));

/// All targets of this crate.
pub const TARGETS: &[Target] = &[
    ("body", body),
    ("image", image),
    ("page_header", page_header),
    ("pglz", pglz),
    ("record", record),
    ("stream", stream),
    ("text", text),
];

/// The fixtures' segment size.
const SEGMENT: u32 = 1 << 20;

/// A page header: what is read of it fits the bytes.
pub fn page_header(input: &[u8]) {
    if let Ok(header) = PageHeader::parse(input) {
        let _ = header.first_record();
        assert!(header.size() <= input.len());
    }
}

/// A stretch of WAL, with its place (8 bytes), the way in which it is cut (1) and what is known before
/// (1) in front. Read by position and taken in piece by piece it gives the same records, and ends the same
/// way. Checksums are made right first: they would keep the fuzzer from what is behind them.
pub fn stream(input: &[u8]) {
    let Some((place, rest)) = input.split_first_chunk::<8>() else {
        return;
    };
    let [cuts, known, wal @ ..] = rest else {
        return;
    };
    // Not near the end of all positions, where there is no WAL.
    let start = Lsn::new(u64::from_le_bytes(*place) >> 2);
    let options = DecoderOptions {
        segment_size: (known & 1 != 0).then_some(SEGMENT),
        version: (known & 2 != 0).then(|| version(known >> 2)),
        system_identifier: None,
    };
    let mut wal = wal.to_vec();
    mend_checksums(start, options, &mut wal);

    let (pieces, ended) = in_pieces(start, options, &wal, *cuts);
    let source = WalSlice { start, bytes: &wal };
    let mut reader = RecordReader::new(source, options);
    if reader.seek(start).is_ok() {
        let mut pieces = pieces.into_iter();
        let ended_by_position = loop {
            match reader.next_record() {
                Ok(Some(raw)) => {
                    assert_eq!(
                        pieces.next(),
                        Some((raw.start, raw.end, raw.bytes.to_vec()))
                    );
                }
                Ok(None) => break None,
                Err(crate::ReadError::Wal(error)) => break Some(error),
                Err(error) => panic!("a slice does not fail: {error:?}"),
            }
        };
        assert_eq!(pieces.next(), None);
        assert_eq!(ended, ended_by_position);
    }
    let end = start + wal.len() as u64;
    let _ = first_record(source, start);
    if let Ok(boundary) = record_boundary(source, SEGMENT, end) {
        assert!(boundary.last_start < boundary.end && boundary.end <= end);
    }
}

/// A record's place and bytes.
type Piece = (Lsn, Lsn, Vec<u8>);

/// All records, the WAL handed in piece by piece; and what ended them, if that was damage.
fn in_pieces(
    start: Lsn,
    options: DecoderOptions,
    wal: &[u8],
    cuts: u8,
) -> (Vec<Piece>, Option<WalError>) {
    let mut decoder = StreamDecoder::new(start, options);
    let mut records = Vec::new();
    let mut rest = wal;
    let mut state = u32::from(cuts) * 2 + 1;
    loop {
        // Before the first byte, too: some starts are impossible.
        loop {
            match decoder.next_record() {
                Ok(Some(raw)) => records.push((raw.start, raw.end, raw.bytes.to_vec())),
                Ok(None) => break,
                Err(error) => return (records, Some(error)),
            }
        }
        if rest.is_empty() {
            return (records, None);
        }
        // Lengths of all magnitudes; zero cuts nothing.
        state = state.wrapping_mul(0x9E37_79B1).rotate_left(9);
        let length = match cuts {
            0 => rest.len(),
            _ => 1 + (state >> 8) as usize % (1 << (state % 14)),
        };
        let (piece, behind) = rest.split_at(length.min(rest.len()));
        rest = behind;
        decoder.push(decoder.received(), piece).expect("in order");
    }
}

/// Records at most whose checksum is made right in one input.
const MENDED: usize = 16;

/// Makes the checksums of the first records right.
fn mend_checksums(start: Lsn, options: DecoderOptions, wal: &mut [u8]) {
    for _ in 0..MENDED {
        let Some(WalError::Crc { at, computed, .. }) = in_pieces(start, options, wal, 0).1 else {
            return;
        };
        let place = checksum_place(at) - start;
        let place = usize::try_from(place).expect("in memory");
        wal[place..place + 4].copy_from_slice(&computed.to_le_bytes());
    }
}

/// Where the checksum of the record at `start` stands. Its word of 8 bytes is never divided by a page's
/// end, but the header may be.
fn checksum_place(start: Lsn) -> Lsn {
    const CHECKSUM: u64 = 20;
    let in_page = WAL_PAGE_SIZE as u64 - start.page_offset();
    if in_page > CHECKSUM {
        return start + CHECKSUM;
    }
    let page = start + in_page;
    let header = match page.segment_offset(SEGMENT) {
        0 => LONG_PAGE_HEADER_SIZE,
        _ => SHORT_PAGE_HEADER_SIZE,
    };
    page + header as u64 + (CHECKSUM - in_page)
}

/// A record, its version (1 byte) in front: it decodes, or is refused. What is trimmed from it decodes
/// again.
pub fn record(input: &[u8]) {
    let [known, bytes @ ..] = input else {
        return;
    };
    let mut bytes = bytes.to_vec();
    set_length(&mut bytes);
    let version = version(*known);
    let (start, end) = (Lsn::new(64), Lsn::new(128));
    let Ok(record) = Record::parse(version, start, end, &bytes) else {
        return;
    };
    for block in record.blocks() {
        if let Some(image) = &block.image {
            let _ = image.restore(&mut [0; PAGE_SIZE]);
        }
        let mut trimmed = Vec::new();
        record.encode_trimmed(Some(&block.tag), &mut trimmed);
        let trimmed = Record::parse(version, start, end, &trimmed).expect("trimmed");
        assert_eq!(trimmed.main_data, record.main_data);
    }
}

/// A record, with two bytes in front: version and settings, minor release. Its body, the data of its
/// blocks, its effects and its description are told or refused, and none is longer than the record
/// explains.
pub fn body(input: &[u8]) {
    let [known, minor, bytes @ ..] = input else {
        return;
    };
    let mut bytes = bytes.to_vec();
    set_length(&mut bytes);
    let version = version(*known);
    let Ok(record) = Record::parse(version, Lsn::new(64), Lsn::new(128), &bytes) else {
        return;
    };
    let context = EffectContext {
        rules: RedoRules {
            version,
            minor: u16::from(*minor),
            hint_bits_logged: known & 0x40 != 0,
        },
        track_commit_timestamp: known & 0x80 != 0,
    };
    decode_all(&record, &context);
}

/// Decodes all that a record holds. Refusals are fine.
fn decode_all(record: &Record<'_>, context: &EffectContext) {
    let _ = rmgr::record_name(record);
    let _ = walk::walk(record);
    let _ = describe::describe(record, &mut Text::new());
    let mut count = 0;
    let _ = effects(record, context, &mut |_| count += 1);
    let length = record.header.total_length as usize;
    assert!(count <= MOST_EFFECTS + length, "{count} of {length} bytes");
}

/// Effects of a record at most that are not paid for by its bytes.
const MOST_EFFECTS: usize = 200;

/// A page image, with its compression (1 byte) and its hole (2 and 2) in front: it gives a page whose hole
/// is zeros, or is refused.
pub fn image(input: &[u8]) {
    let [method, o0, o1, l0, l1, bytes @ ..] = input else {
        return;
    };
    let compression = match method % 4 {
        0 => ImageCompression::None,
        1 => ImageCompression::Lz4,
        2 => ImageCompression::Zstd,
        _ => ImageCompression::Pglz,
    };
    let image = BlockImage {
        bytes,
        hole_offset: u16::from_le_bytes([*o0, *o1]),
        hole_length: u16::from_le_bytes([*l0, *l1]),
        compression,
        apply: true,
    };
    let mut page = [0xEE; PAGE_SIZE];
    if image.restore(&mut page).is_ok() {
        let hole = usize::from(image.hole_offset);
        let hole = &page[hole..hole + usize::from(image.hole_length)];
        assert!(hole.iter().all(|byte| *byte == 0));
    }
}

/// A stream of Postgres's own compression, the length of its content (2 bytes) in front: it gives what
/// the plainest decoder gives.
pub fn pglz(input: &[u8]) {
    let Some((length, stream)) = input.split_first_chunk::<2>() else {
        return;
    };
    let length = usize::from(u16::from_le_bytes(*length));
    let mut out = vec![0xEE; length];
    let filled = crate::pglz::decompress(stream, &mut out);
    let plain = plain_pglz(stream, length);
    assert_eq!(filled, plain.as_ref().map(Vec::len));
    assert!(plain.is_none_or(|plain| plain == out));
}

/// The model of [`pglz`]: a byte at a time, into a vector that grows.
fn plain_pglz(stream: &[u8], length: usize) -> Option<Vec<u8>> {
    let mut out: Vec<u8> = Vec::new();
    let mut at = 0;
    let next = |at: &mut usize| {
        *at += 1;
        stream.get(*at - 1).map(|byte| usize::from(*byte))
    };
    while out.len() < length {
        let control = next(&mut at)?;
        for bit in 0..8 {
            if out.len() == length {
                break;
            }
            if control >> bit & 1 == 0 {
                out.push(next(&mut at)? as u8);
                continue;
            }
            let (first, second) = (next(&mut at)?, next(&mut at)?);
            let mut count = first % 16 + 3;
            if count == 18 {
                count += next(&mut at)?;
            }
            let back = first / 16 * 256 + second;
            for _ in 0..count.min(length - out.len()) {
                let from = out.len().checked_sub(back).filter(|_| back > 0)?;
                out.push(out[from]);
            }
        }
    }
    (at == stream.len()).then_some(out)
}

/// A text that names something: what is read is written as a text that is read as the same.
pub fn text(input: &[u8]) {
    fn check<T: std::str::FromStr + std::fmt::Display + PartialEq>(text: &str) {
        if let Ok(value) = text.parse::<T>() {
            let shown = value.to_string();
            assert!(
                shown.parse::<T>().is_ok_and(|again| again == value),
                "{shown}"
            );
        }
    }
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    check::<Lsn>(text);
    check::<ForkNumber>(text);
    check::<RelFileLocator>(text);
    check::<TenantId>(text);
    if let Ok(id) = SegmentId::parse(text, SEGMENT) {
        assert_eq!(id.file_name(SEGMENT), text);
        let _ = id.start(SEGMENT);
    }
}

fn version(choice: u8) -> PgVersion {
    PgVersion::ALL[usize::from(choice & 0x3F) % PgVersion::ALL.len()]
}

/// Makes a record as long as it says.
fn set_length(record: &mut [u8]) {
    let length = (record.len() as u32).to_le_bytes();
    if let Some(field) = record.get_mut(..RECORD_HEADER_SIZE) {
        field[..4].copy_from_slice(&length);
    }
}

#[cfg(test)]
#[path = "../fuzz/replay.rs"]
mod replay;

//! A stream of any bytes, cut anywhere, and the same bytes by position: the same records, no panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use walrecord::{DecoderOptions, Lsn, PgVersion, RecordReader, StreamDecoder, WalSlice};

fuzz_target!(|input: (u16, u16, Vec<u8>)| {
    let (place, chunk, bytes) = input;
    let start = Lsn::new(u64::from(place) * 8);
    let options = DecoderOptions {
        segment_size: Some(1 << 20),
        version: Some(PgVersion::V15),
        ..DecoderOptions::default()
    };
    let mut decoder = StreamDecoder::new(start, options);
    let mut streamed = Vec::new();
    'all: for chunk in bytes.chunks(usize::from(chunk) + 1) {
        decoder.push(decoder.received(), chunk).unwrap();
        loop {
            match decoder.next_record() {
                Ok(Some(raw)) => streamed.push((raw.start, raw.end, raw.bytes.to_vec())),
                Ok(None) => break,
                Err(_) => break 'all,
            }
        }
    }
    let source = WalSlice { start, bytes: &bytes };
    let mut reader = RecordReader::new(source, options);
    if reader.seek(start).is_ok() {
        let mut streamed = streamed.into_iter();
        while let Ok(Some(raw)) = reader.next_record() {
            assert_eq!(streamed.next(), Some((raw.start, raw.end, raw.bytes.to_vec())));
        }
        assert_eq!(streamed.next(), None);
    }
});

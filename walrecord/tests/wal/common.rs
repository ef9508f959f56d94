//! WAL of real servers, and a small random generator whose seed a failing test prints.

use std::fs;
use std::path::PathBuf;

use walrecord::{
    DecoderOptions, Lsn, PageHeader, PgVersion, RawRecord, StreamDecoder, WalError, WalSlice,
};

/// The fixtures' segment size.
pub(crate) const SEGMENT: u32 = 1 << 20;

/// The WAL of one server, see `fixtures/README.md`.
pub(crate) struct Fixture {
    pub(crate) version: PgVersion,
    /// Where its files are.
    directory: String,
    pub(crate) start: Lsn,
    pub(crate) bytes: Vec<u8>,
}

impl Fixture {
    pub(crate) fn load(version: PgVersion) -> Fixture {
        Fixture::load_from(version, &version.to_string())
    }

    /// What only the newest minor releases and full builds write.
    pub(crate) fn newest() -> impl Iterator<Item = Fixture> {
        [(PgVersion::V17, "17.11"), (PgVersion::V18, "18.6")]
            .into_iter()
            .map(|(version, directory)| Fixture::load_from(version, directory))
    }

    fn load_from(version: PgVersion, directory: &str) -> Fixture {
        let bytes = unpack_from(directory, "wal.zst");
        let start = PageHeader::parse(&bytes).expect("a page header").address;
        Fixture {
            version,
            directory: directory.to_owned(),
            start,
            bytes,
        }
    }

    /// Unpacks another of its files.
    pub(crate) fn unpack(&self, name: &str) -> Vec<u8> {
        unpack_from(&self.directory, name)
    }

    pub(crate) fn all() -> impl Iterator<Item = Fixture> {
        PgVersion::ALL.into_iter().map(Fixture::load)
    }

    pub(crate) fn slice(&self) -> WalSlice<'_> {
        WalSlice {
            start: self.start,
            bytes: &self.bytes,
        }
    }

    /// The bytes from `from` on.
    pub(crate) fn from(&self, from: Lsn) -> &[u8] {
        &self.bytes[(from - self.start) as usize..]
    }

    /// All records, by one push of all bytes.
    pub(crate) fn records(&self) -> Vec<Owned> {
        let mut decoder = StreamDecoder::new(self.start, DecoderOptions::default());
        decoder.push(self.start, &self.bytes).unwrap();
        let mut records = Vec::new();
        let error = drain(&mut decoder, &mut records).err();
        let last = records.last().expect("records");
        // What is behind is zeros, or what a recycled segment had there.
        assert_eq!(error.is_none(), decoder.ended(), "{error:?} at {last:?}");
        records
    }
}

/// Unpacks a fixture file.
pub(crate) fn unpack(version: PgVersion, name: &str) -> Vec<u8> {
    unpack_from(&version.to_string(), name)
}

fn unpack_from(directory: &str, name: &str) -> Vec<u8> {
    let path: PathBuf = [
        env!("CARGO_MANIFEST_DIR"),
        "tests/fixtures",
        directory,
        name,
    ]
    .iter()
    .collect();
    let packed = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    zstd::decode_all(&packed[..]).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A record that outlives the decoder's buffer.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Owned {
    pub(crate) version: PgVersion,
    pub(crate) start: Lsn,
    pub(crate) end: Lsn,
    pub(crate) bytes: Vec<u8>,
}

impl std::fmt::Debug for Owned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}..{} ({} B)", self.start, self.end, self.bytes.len())
    }
}

impl Owned {
    pub(crate) fn raw(&self) -> RawRecord<'_> {
        RawRecord::new(self.version, self.start, self.end, &self.bytes).unwrap()
    }
}

impl From<RawRecord<'_>> for Owned {
    fn from(raw: RawRecord<'_>) -> Owned {
        Owned {
            version: raw.version,
            start: raw.start,
            end: raw.end,
            bytes: raw.bytes.to_vec(),
        }
    }
}

/// Takes out all records that are whole.
pub(crate) fn drain(decoder: &mut StreamDecoder, into: &mut Vec<Owned>) -> Result<(), WalError> {
    while let Some(raw) = decoder.next_record()? {
        into.push(raw.into());
    }
    Ok(())
}

/// SplitMix64: the same numbers from the same seed on every machine.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `limit`.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }
}

//! A damaged record is refused, whatever is damaged; and if its checksum was made right again, its body is
//! refused or decoded, but no decoder panics or takes memory for what a length only claims.

use std::collections::BTreeMap;
use std::fs;

use walrecord::describe::{Text, describe};
use walrecord::{
    DecoderOptions, Effect, EffectContext, LONG_PAGE_HEADER_SIZE, Lsn, MetaEffect,
    RECORD_HEADER_SIZE, RawRecord, RecordReader, RedoRules, SHORT_PAGE_HEADER_SIZE, WAL_PAGE_SIZE,
    concerns, effects, rmgr,
};

use crate::common::{Fixture, Owned, Random, SEGMENT};
use crate::walk::walk;

/// Damaged records of each version, for each of the two kinds of damage.
const RECORDS: usize = 100_000;

/// Address space that the tests of this program may ever have had, bytes. The largest length that a record
/// may claim would not fit beside the fixtures.
const MAX_ADDRESS_SPACE: u64 = 1 << 30;

/// Longer records are left alone: their bytes are mostly images.
const MAX_LENGTH: usize = 20_000;

/// Where the checksum stands in a record's header.
const CHECKSUM: usize = 20;

/// The WAL of one server, with a record of each kind picked in turn.
struct Patients {
    fixture: Fixture,
    records: Vec<Owned>,
    /// Indexes of records by resource manager, info and number of blocks.
    kinds: Vec<Vec<usize>>,
}

impl Patients {
    fn of(fixture: Fixture) -> Patients {
        let records = fixture.records();
        let mut kinds: BTreeMap<_, Vec<usize>> = BTreeMap::new();
        for (index, owned) in records.iter().enumerate() {
            let record = owned.raw().decode().unwrap();
            let rmgr = record.header.rmgr.to_u8();
            let kind = (rmgr, record.info(), record.blocks().len());
            if owned.bytes.len() < MAX_LENGTH {
                kinds.entry(kind).or_default().push(index);
            }
        }
        Patients {
            fixture,
            records,
            kinds: kinds.into_values().collect(),
        }
    }

    fn pick(&self, round: usize, random: &mut Random) -> Owned {
        let kind = &self.kinds[round % self.kinds.len()];
        self.records[kind[random.below(kind.len())]].clone()
    }

    /// Puts other bytes in a record's place, lets `look` look at the WAL, and puts back what was there.
    fn with<R>(&mut self, original: &Owned, damaged: &[u8], look: impl FnOnce(&Fixture) -> R) -> R {
        self.write(original.start, damaged);
        let result = look(&self.fixture);
        self.write(original.start, &original.bytes);
        result
    }

    /// Writes a record's bytes into the pages that it lies in.
    fn write(&mut self, start: Lsn, mut bytes: &[u8]) {
        let mut at = start;
        while !bytes.is_empty() {
            if at.page_offset() == 0 {
                let header = match at.segment_offset(SEGMENT) {
                    0 => LONG_PAGE_HEADER_SIZE,
                    _ => SHORT_PAGE_HEADER_SIZE,
                };
                at = at + header as u64;
            }
            let room = WAL_PAGE_SIZE - at.page_offset() as usize;
            let (here, later) = bytes.split_at(room.min(bytes.len()));
            let place = (at - self.fixture.start) as usize;
            self.fixture.bytes[place..place + here.len()].copy_from_slice(here);
            at = at + here.len() as u64;
            bytes = later;
        }
    }
}

/// Reads the record at `start` and gives what `used` makes of it; none if it is refused.
fn read<R>(
    fixture: &Fixture,
    original: &Owned,
    used: impl FnOnce(&RawRecord<'_>) -> R,
) -> Option<R> {
    let options = DecoderOptions {
        segment_size: Some(SEGMENT),
        version: Some(fixture.version),
        ..DecoderOptions::default()
    };
    let mut reader = RecordReader::new(fixture.slice(), options);
    let raw = reader.read(original.start).ok()?;
    Some(used(&raw))
}

fn assert_memory_is_bounded() {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmPeak:"));
    let kilobytes = peak.and_then(|text| text.trim().strip_suffix(" kB"));
    let peak = kilobytes.unwrap().parse::<u64>().unwrap() << 10;
    assert!(peak < MAX_ADDRESS_SPACE, "{peak} bytes");
}

#[test]
fn no_damage_to_a_record_gets_past_its_checksum() {
    let mut refused = 0;
    for fixture in Fixture::all() {
        let mut patients = Patients::of(fixture);
        let version = patients.fixture.version;
        let mut random = Random(23);
        for round in 0..RECORDS {
            let original = patients.pick(round, &mut random);
            let mut damaged = original.bytes.clone();
            match random.below(8) {
                0 => {
                    let claim = random.next() as u32;
                    damaged[..4].copy_from_slice(&claim.to_le_bytes());
                }
                1 => {
                    let from = random.below(damaged.len());
                    damaged[from..].fill(random.next() as u8);
                }
                flips => {
                    for _ in 0..flips {
                        let at = random.below(damaged.len());
                        damaged[at] ^= 1 << random.below(8);
                    }
                }
            }
            if damaged == original.bytes {
                continue;
            }
            let got = patients.with(&original, &damaged, |wal| {
                read(wal, &original, |raw| raw.bytes.len())
            });
            assert_eq!(got, None, "version {version}, round {round}, {original:?}");
            refused += 1;
        }
    }
    assert!(refused > 200_000, "{refused}");
    assert_memory_is_bounded();
}

#[test]
fn damage_behind_a_right_checksum_is_refused_or_decoded_but_never_panics() {
    let (mut tried, mut decoded) = (0, 0);
    for fixture in Fixture::all() {
        let mut patients = Patients::of(fixture);
        let mut random = Random(29);
        for round in 0..RECORDS {
            let original = patients.pick(round, &mut random);
            let mut damaged = original.bytes.clone();
            damage_body(&mut damaged, &mut random);
            seal(&mut damaged);
            let context = EffectContext {
                rules: RedoRules {
                    version: patients.fixture.version,
                    minor: random.below(40) as u16,
                    hint_bits_logged: random.below(2) == 0,
                },
                track_commit_timestamp: random.below(2) == 0,
            };
            let understood = patients.with(&original, &damaged, |wal| {
                read(wal, &original, |raw| {
                    assert_eq!(raw.bytes, damaged);
                    decode_all(raw, &context)
                })
            });
            tried += 1;
            decoded += usize::from(understood == Some(true));
        }
    }
    assert!(tried > 200_000, "{tried}");
    // Else the damage went no deeper than the headers.
    assert!(decoded > tried / 2, "{decoded} of {tried}");
    assert_memory_is_bounded();
}

/// Damages anything but the fields that framing is about: length, link, checksum.
fn damage_body(bytes: &mut [u8], random: &mut Random) {
    for _ in 0..=random.below(4) {
        let body = bytes.len() - RECORD_HEADER_SIZE;
        let at = match random.below(16) {
            0 => 4 + random.below(4), // xid
            1 => 16,                  // info
            2 => 17,                  // resource manager
            // Where main data is, mostly.
            3..=8 if body > 0 => bytes.len() - 1 - random.below(body.min(64)),
            _ if body > 0 => RECORD_HEADER_SIZE + random.below(body),
            _ => 16,
        };
        bytes[at] = match random.below(4) {
            0 => 0xFF,
            1 => 0,
            2 => bytes[at] ^ 1 << random.below(8),
            _ => random.next() as u8,
        };
    }
}

/// Makes the checksum right.
fn seal(bytes: &mut [u8]) {
    let body = crc32c::crc32c(&bytes[RECORD_HEADER_SIZE..]);
    let checksum = crc32c::crc32c_append(body, &bytes[..CHECKSUM]);
    bytes[CHECKSUM..RECORD_HEADER_SIZE].copy_from_slice(&checksum.to_le_bytes());
}

/// Decodes all that a record holds; says whether its headers could be decoded.
fn decode_all(raw: &RawRecord<'_>, context: &EffectContext) -> bool {
    let more_than_blocks = concerns(raw, |_| false);
    let Ok(record) = raw.decode() else {
        return false;
    };
    let _ = rmgr::record_name(&record);
    let _ = walk(&record);
    let _ = describe(&record, &mut Text::new());
    let mut count = 0;
    let _ = effects(&record, context, &mut |effect| {
        let expected = match effect {
            Effect::Page { key, .. } => record.blocks().iter().any(|it| key == it.tag.into()),
            Effect::Meta(change) => matches!(change, MetaEffect::XidUsed { .. }),
        };
        assert!(more_than_blocks || expected, "{effect:?} of {record:?}");
        count += 1;
    });
    assert!(count < 200 + raw.bytes.len(), "{count} effects: {record:?}");
    true
}

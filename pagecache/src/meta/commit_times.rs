//! When transactions ended: runs of commits and aborts, delta-encoded. The open layer writes them, the
//! time lookups read them.

use walrecord::{Lsn, PgTime, Reader, Xid};

use super::MetaError;

/// Bytes after which a run is closed. A lookup decodes a few runs; each costs a row in a layer (13 bytes).
const FULL: usize = 4096;

/// A varint of 64 bits takes at most this many bytes.
const MAX_VARINT: u32 = 10;

/// The time that no transaction ended before: what the largest so far is, before there is any.
pub(crate) const NO_TIME: PgTime = PgTime::MIN;

/// A commit or abort, prepared transactions' included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TransactionEnd {
    /// Where the record before ends: where recovery would stop that must not apply this one.
    pub(crate) stop: Lsn,
    /// Where its record ends.
    pub(crate) end: Lsn,
    /// When, by the primary's clock.
    pub(crate) time: PgTime,
    /// The transaction.
    pub(crate) xid: Xid,
    /// Whether it committed.
    pub(crate) committed: bool,
}

/// A run of commits and aborts while it grows. What is written so far is a complete value at any time.
#[derive(Debug)]
pub(crate) struct CommitTimesWriter {
    first: Lsn,
    last: TransactionEnd,
    bytes: Vec<u8>,
}

impl CommitTimesWriter {
    /// A run that begins with `first`; `before` is the largest time of all before it, or [`NO_TIME`].
    pub(crate) fn new(before: PgTime, first: TransactionEnd) -> CommitTimesWriter {
        let mut bytes = Vec::with_capacity(64);
        bytes.extend_from_slice(&before.to_le_bytes());
        bytes.extend_from_slice(&first.end.get().to_le_bytes());
        let mut writer = CommitTimesWriter {
            first: first.end,
            last: origin(first.end),
            bytes,
        };
        writer.push(first);
        writer
    }

    /// Adds the next one; they come in the order of their records.
    pub(crate) fn push(&mut self, next: TransactionEnd) {
        let last = std::mem::replace(&mut self.last, next);
        let out = &mut self.bytes;
        write_varint(next.end - last.end, out);
        let outcome = u64::from(next.committed);
        write_varint(((next.end - next.stop) << 1) | outcome, out);
        write_varint(zigzag(next.time.wrapping_sub(last.time)), out);
        let xid = next.xid.wrapping_sub(last.xid) as i32;
        write_varint(zigzag(xid.into()), out);
    }

    /// Whether the next one should begin a run of its own.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes.len() >= FULL
    }

    /// End of the first record: the version that the value is stored as.
    pub(crate) fn first(&self) -> Lsn {
        self.first
    }

    /// The value.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Bytes of memory that it takes.
    pub(crate) fn memory(&self) -> usize {
        size_of::<CommitTimesWriter>() + self.bytes.capacity()
    }
}

/// What the first entry's differences are to.
fn origin(first: Lsn) -> TransactionEnd {
    TransactionEnd {
        stop: first,
        end: first,
        time: 0,
        xid: 0,
        committed: false,
    }
}

/// A run of commits and aborts as stored.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CommitTimes<'a> {
    /// The largest time of all before the run, or [`NO_TIME`].
    pub(crate) before: PgTime,
    first: Lsn,
    entries: Reader<'a>,
}

impl<'a> CommitTimes<'a> {
    /// Reads what stands before the entries.
    pub(crate) fn decode(bytes: &'a [u8]) -> Result<CommitTimes<'a>, MetaError> {
        let mut r = Reader::new(bytes);
        Ok(CommitTimes {
            before: r.i64("largest time before")?,
            first: r.lsn("end of the first record")?,
            entries: r,
        })
    }

    /// The commits and aborts, in the order of their records. Ends behind the first error.
    pub(crate) fn entries(&self) -> Entries<'a> {
        Entries {
            last: origin(self.first),
            rest: self.entries,
        }
    }
}

/// See [`CommitTimes::entries`].
pub(crate) struct Entries<'a> {
    last: TransactionEnd,
    rest: Reader<'a>,
}

impl Iterator for Entries<'_> {
    type Item = Result<TransactionEnd, MetaError>;

    fn next(&mut self) -> Option<Result<TransactionEnd, MetaError>> {
        if self.rest.left() == 0 {
            return None;
        }
        let entry = self.entry();
        match &entry {
            Ok(entry) => self.last = *entry,
            Err(_) => self.rest = Reader::new(&[]),
        }
        Some(entry)
    }
}

impl Entries<'_> {
    fn entry(&mut self) -> Result<TransactionEnd, MetaError> {
        let r = &mut self.rest;
        let gap = read_varint("distance between ends", r)?;
        let length = read_varint("length and outcome", r)?;
        let time = unzigzag(read_varint("time", r)?);
        let xid = unzigzag(read_varint("transaction", r)?);
        let field = |field, found| MetaError::Field { field, found };
        let end = self.last.end.checked_add(gap);
        let end = end.ok_or_else(|| field("distance between ends", gap))?;
        let stop = end.get().checked_sub(length >> 1);
        let stop = stop.ok_or_else(|| field("length and outcome", length))?;
        let xid = i32::try_from(xid).map_err(|_| field("transaction", xid as u64))?;
        Ok(TransactionEnd {
            stop: Lsn::new(stop),
            end,
            time: self.last.time.wrapping_add(time),
            xid: self.last.xid.wrapping_add(xid as u32),
            committed: length & 1 == 1,
        })
    }
}

const fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

const fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// Seven bits a byte, the low ones first; the high bit says that more follow.
fn write_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn read_varint(field: &'static str, r: &mut Reader<'_>) -> Result<u64, MetaError> {
    let mut value = 0;
    for index in 0..MAX_VARINT {
        let byte = r.u8(field)?;
        let bits = u64::from(byte & 0x7F);
        if index == MAX_VARINT - 1 && byte > 1 {
            break;
        }
        value |= bits << (7 * index);
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(MetaError::Field {
        field,
        found: value,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(bytes: &[u8]) -> Vec<TransactionEnd> {
        let run = CommitTimes::decode(bytes).unwrap();
        run.entries().map(Result::unwrap).collect()
    }

    #[test]
    fn a_run_gives_back_what_was_put_in_whatever_the_numbers() {
        let end = |end: u64, length: u64, time, xid, committed| TransactionEnd {
            stop: Lsn::new(end - length),
            end: Lsn::new(end),
            time,
            xid,
            committed,
        };
        let ends = [
            end(1 << 40, 40, 700_000_000_000_000, 3, true),
            end((1 << 40) + 40, 40, i64::MAX, u32::MAX, false),
            end((1 << 40) + 8000, 1 << 30, i64::MIN, 3, true),
            end(u64::MAX, 0, -1, 1 << 31, false),
        ];
        let mut writer = CommitTimesWriter::new(NO_TIME, ends[0]);
        for (number, next) in ends.iter().enumerate().skip(1) {
            assert_eq!(decoded(writer.bytes()), ends[..number]);
            writer.push(*next);
        }
        assert_eq!(decoded(writer.bytes()), ends);
        assert_eq!(CommitTimes::decode(writer.bytes()).unwrap().before, NO_TIME);
    }

    #[test]
    fn a_commit_takes_a_few_bytes() {
        let nth = |n: u64| TransactionEnd {
            stop: Lsn::new(n * 1000 + 960),
            end: Lsn::new(n * 1000 + 1000),
            time: 700_000_000_000_000 + n as i64 * 1500,
            xid: 1000 + n as u32,
            committed: true,
        };
        let mut writer = CommitTimesWriter::new(5, nth(0));
        let mut count = 1;
        while !writer.is_full() {
            writer.push(nth(count));
            count += 1;
        }
        assert_eq!(decoded(writer.bytes()).len() as u64, count);
        assert!(count > 650, "{count} in {} bytes", writer.bytes().len());
    }

    #[test]
    fn damage_is_an_error_and_ends_the_run() {
        let first = TransactionEnd {
            stop: Lsn::new(60),
            end: Lsn::new(100),
            time: 1,
            xid: 3,
            committed: true,
        };
        let writer = CommitTimesWriter::new(0, first);
        let cut = &writer.bytes()[..writer.bytes().len() - 1];
        let mut entries = CommitTimes::decode(cut).unwrap().entries();
        assert!(matches!(entries.next(), Some(Err(MetaError::Truncated(_)))));
        assert!(entries.next().is_none());
        for (bad, field) in [
            (&[0xFF; 10][..], "distance between ends"),
            (&[0, 0xFE, 3, 0, 0][..], "length and outcome"),
            (&[0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F][..], "transaction"),
        ] {
            let mut bytes = writer.bytes()[..16].to_vec();
            bytes.extend_from_slice(bad);
            let found = CommitTimes::decode(&bytes).unwrap().entries().next();
            assert!(
                matches!(found, Some(Err(MetaError::Field { field: f, .. })) if f == field),
                "{found:?}"
            );
        }
        assert!(CommitTimes::decode(&[0; 15]).is_err());
    }
}

//! How many records of each kind there are, and how large (`XLogRecStoreStats`,
//! access/transam/xlogstats.c; `XLogDumpDisplayStats`, bin/pg_waldump/pg_waldump.c).

use super::RecordLength;
use crate::describe::Text;
use crate::record::Record;
use crate::rmgr::{Rmgr, RmgrId, opcode_name};
use crate::types::{Lsn, PgVersion};

/// What statistics are told by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StatsBy {
    /// Resource manager.
    #[default]
    Rmgr,
    /// Kind of record.
    Record,
}

/// Counts of records, and their bytes.
#[derive(Clone, Debug)]
pub struct Stats {
    /// By resource manager, then by opcode.
    counts: Vec<[Count; OPCODES]>,
    /// Where the last record ends.
    end: Option<Lsn>,
}

/// Records of one kind.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    records: u64,
    /// Bytes but for page images.
    rest: u64,
    /// Bytes of page images.
    images: u64,
}

/// Kinds of record that a resource manager can have.
const OPCODES: usize = 16;

impl Default for Stats {
    fn default() -> Stats {
        Stats::new()
    }
}

impl Stats {
    /// Of no records yet.
    pub fn new() -> Stats {
        Stats {
            counts: vec![[Count::default(); OPCODES]; 256],
            end: None,
        }
    }

    /// Counts a record.
    #[inline]
    pub fn add(&mut self, record: &Record<'_>) {
        let rmgr = record.header.rmgr;
        let mut opcode = usize::from(record.header.info >> 4);
        if rmgr == RmgrId::BuiltIn(Rmgr::Transaction) {
            // The highest bit is a flag there.
            opcode &= 7;
        }
        let length = RecordLength::of(record);
        let count = &mut self.counts[usize::from(rmgr.to_u8())][opcode];
        count.records += 1;
        count.rest += u64::from(length.rest);
        count.images += u64::from(length.images);
        self.end = Some(record.end);
    }

    /// Appends the table that `pg_waldump --stats` of this version prints. `start` is where the first
    /// record that was looked at starts. 15 and newer print nothing if there was no record to count.
    pub fn write(&self, version: PgVersion, start: Lsn, by: StatsBy, out: &mut Text) {
        if version >= PgVersion::V15 {
            let Some(end) = self.end else {
                return;
            };
            out.str("WAL statistics between ").lsn(start, false);
            out.str(" and ").lsn(end, false).str(":\n");
        }
        let total = self.counts.iter().flatten().copied().sum();
        write_head(out);
        for id in (0..=u8::MAX).filter_map(RmgrId::from_u8) {
            let counts = &self.counts[usize::from(id.to_u8())];
            match by {
                StatsBy::Rmgr => {
                    let count: Count = counts.iter().copied().sum();
                    // Postgres's own are always told.
                    if matches!(id, RmgrId::BuiltIn(_)) || count.records > 0 {
                        count.write_row(&id.to_string(), &total, out);
                    }
                }
                StatsBy::Record => {
                    let seen = counts.iter().zip(0u8..);
                    for (count, opcode) in seen.filter(|(count, _)| count.records > 0) {
                        count.write_row(&kind_name(id, opcode << 4, version), &total, out);
                    }
                }
            }
        }
        total.write_total(out);
    }
}

impl Count {
    const fn bytes(&self) -> u64 {
        self.rest + self.images
    }

    /// A row, with the shares of the columns' totals.
    fn write_row(&self, name: &str, total: &Count, out: &mut Text) {
        let columns = [
            (self.records, total.records),
            (self.rest, total.rest),
            (self.images, total.images),
            (self.bytes(), total.bytes()),
        ];
        out.str_left(name, NAME_WIDTH);
        for (value, of) in columns {
            out.byte(b' ').dec_right(value, VALUE_WIDTH);
            out.str(&format!(" ({:6.2})", percent(value, of)));
        }
        out.byte(b'\n');
    }

    /// The last row, with the shares of all bytes.
    fn write_total(&self, out: &mut Text) {
        let share = |value| format!("[{:.2}%]", percent(value, self.bytes()));
        let columns = [
            (self.records, String::new(), 9),
            (self.rest, share(self.rest), 9),
            (self.images, share(self.images), 9),
            (self.bytes(), "[100%]".to_owned(), 6),
        ];
        out.str_left("", NAME_WIDTH);
        for _ in 0..3 {
            out.byte(b' ').str_right("--------", VALUE_WIDTH);
            out.byte(b' ').str_left("", SHARE_WIDTH);
        }
        out.byte(b' ').str_right("--------", VALUE_WIDTH);
        out.byte(b'\n').str_left("Total", NAME_WIDTH).byte(b' ');
        for (value, share, width) in columns {
            out.dec_right(value, VALUE_WIDTH);
            out.byte(b' ').str_left(&share, width);
        }
        out.byte(b'\n');
    }
}

impl std::iter::Sum for Count {
    fn sum<I: Iterator<Item = Count>>(counts: I) -> Count {
        counts.fold(Count::default(), |sum, count| Count {
            records: sum.records + count.records,
            rest: sum.rest + count.rest,
            images: sum.images + count.images,
        })
    }
}

const NAME_WIDTH: usize = 27;
const VALUE_WIDTH: usize = 20;
const SHARE_WIDTH: usize = 8;

fn write_head(out: &mut Text) {
    let titles = ["N", "Record size", "FPI size", "Combined size"];
    out.str_left("Type", NAME_WIDTH);
    for title in titles {
        out.byte(b' ').str_right(title, VALUE_WIDTH);
        out.byte(b' ').str_right("(%)", SHARE_WIDTH);
    }
    out.byte(b'\n').str_left("----", NAME_WIDTH);
    for title in titles {
        let rule = &"-------------"[..title.len()];
        out.byte(b' ').str_right(rule, VALUE_WIDTH);
        out.byte(b' ').str_right("---", SHARE_WIDTH);
    }
    out.byte(b'\n');
}

fn kind_name(id: RmgrId, info: u8, version: PgVersion) -> String {
    let name = match id {
        RmgrId::BuiltIn(rmgr) => opcode_name(rmgr, info, version),
        RmgrId::Custom(_) => None,
    };
    match name {
        Some(name) => format!("{id}/{name}"),
        None => format!("{id}/UNKNOWN ({info:x})"),
    }
}

fn percent(value: u64, of: u64) -> f64 {
    match of {
        0 => 0.0,
        _ => 100.0 * value as f64 / of as f64,
    }
}

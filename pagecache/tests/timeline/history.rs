//! A random history of a small cluster: its WAL, and what every record leaves.

use pagecache::storage::Rng;
use walrecord::rmgr::xlog::CheckPoint;
use walrecord::{
    BlockTag, DecoderOptions, ForkNumber, Lsn, PgTime, PgTimelineId, PgVersion, RelFileLocator,
    Rmgr, RmgrId, StreamDecoder,
};

use crate::model::{Files, Fork, States};
use crate::wal::{NewRecord, SEGMENT_SIZE, SYSTEM_IDENTIFIER, Writer};

const SPC: u32 = 1663;
const DATABASE: u32 = 5;
const COPY: u32 = 6;
const MAX_RELATIONS: u64 = 5;
const TUPLES_PER_PAGE: u16 = 30;

/// Where servers are promoted, as parts of the whole: behind the import. The last two are near each other, often
/// in one segment.
const PROMOTIONS: [f64; 3] = [0.5, 0.8, 0.85];

/// A history. The import happens in its first part, in which no database comes or goes.
pub(crate) struct History {
    pub(crate) start: Lsn,
    pub(crate) bytes: Vec<u8>,
    pub(crate) states: States,
    /// Where records start.
    pub(crate) starts: Vec<Lsn>,
    /// Postgres timelines behind the first, with where they begin.
    pub(crate) switches: Vec<(PgTimelineId, Lsn)>,
    /// The commits.
    pub(crate) commits: Vec<Commit>,
}

/// A commit in a history.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Commit {
    /// Where the record before ends.
    pub(crate) stop: Lsn,
    pub(crate) end: Lsn,
    pub(crate) time: PgTime,
    pub(crate) xid: u32,
}

impl History {
    /// A history on one Postgres timeline.
    pub(crate) fn new(seed: u64, records: usize) -> History {
        History::with(seed, records, &[], 0, None)
    }

    /// One that is the same as [`History::new`] for so many records, and then goes another way.
    pub(crate) fn turning(seed: u64, records: usize, same: usize) -> History {
        History::with(seed, records, &[], 0, Some(same))
    }

    /// A history that goes through several Postgres timelines.
    pub(crate) fn promoted(seed: u64, records: usize) -> History {
        History::with(seed, records, &PROMOTIONS, 0, None)
    }

    /// A history with so much WAL that it goes through several segments, though it does little.
    pub(crate) fn long(seed: u64, records: usize) -> History {
        History::with(seed, records, &[], 130_000, None)
    }

    fn with(
        seed: u64,
        records: usize,
        promotions: &[f64],
        filler: usize,
        turn: Option<usize>,
    ) -> History {
        let mut rng = Rng::new(seed);
        let start = Lsn::new(u64::from(SEGMENT_SIZE) * 7);
        let mut scribe = Scribe {
            writer: Writer::new(start),
            files: Files::default(),
            xid: 700,
            decoder: StreamDecoder::new(
                start,
                DecoderOptions {
                    segment_size: Some(SEGMENT_SIZE),
                    system_identifier: Some(SYSTEM_IDENTIFIER),
                    version: Some(PgVersion::V15),
                },
            ),
            pushed: start,
            last_end: start,
            clock: 700_000_000,
            clock_rng: Rng::new(seed),
            commits: Vec::new(),
        };
        let mut states = States::default();
        let mut starts = Vec::new();
        states.push(start, &scribe.files);
        let mut switches = Vec::new();
        for number in 0..records {
            if turn == Some(number) {
                rng = Rng::new(!seed);
            }
            if promotions
                .iter()
                .any(|part| number == (records as f64 * part) as usize)
            {
                switches.push(scribe.promote(&mut rng));
                states.push(scribe.writer.end(), &scribe.files);
            }
            if filler > 0 && number % 20 == 0 {
                let message = NewRecord::new(Rmgr::LogicalMessage, 0, &vec![7; filler]);
                starts.push(scribe.write(&message));
                states.push(scribe.writer.end(), &scribe.files);
            }
            let record = scribe.some_record(&mut rng, number > records * 2 / 5);
            starts.push(scribe.write(&record));
            states.push(scribe.writer.end(), &scribe.files);
        }
        History {
            start,
            bytes: scribe.writer.bytes,
            states,
            starts,
            switches,
            commits: scribe.commits,
        }
    }

    pub(crate) fn end(&self) -> Lsn {
        self.start + self.bytes.len() as u64
    }

    /// The timeline behind `timeline`, and where it begins.
    pub(crate) fn after(&self, timeline: PgTimelineId) -> Option<(PgTimelineId, Lsn)> {
        let mut later = self.switches.iter();
        later.find(|(next, _)| *next > timeline).copied()
    }

    /// The history file of a timeline.
    pub(crate) fn file(&self, timeline: PgTimelineId) -> Vec<u8> {
        let mut file = Vec::new();
        let mut parent = 1;
        for (next, at) in self.switches.iter().filter(|(next, _)| *next <= timeline) {
            file.extend_from_slice(format!("{parent}\t{at}\tpromoted\n").as_bytes());
            parent = *next;
        }
        file
    }

    /// The bytes of `[from, to)`.
    pub(crate) fn wal(&self, from: Lsn, to: Lsn) -> &[u8] {
        &self.bytes[(from - self.start) as usize..(to - self.start) as usize]
    }
}

struct Scribe {
    writer: Writer,
    files: Files,
    xid: u32,
    decoder: StreamDecoder,
    pushed: Lsn,
    /// Where the last record ends.
    last_end: Lsn,
    clock: PgTime,
    clock_rng: Rng,
    commits: Vec<Commit>,
}

impl Scribe {
    fn write(&mut self, record: &NewRecord) -> Lsn {
        let start = self.writer.write(record);
        let from = (self.pushed - self.writer.start) as usize;
        self.decoder
            .push(self.pushed, &self.writer.bytes[from..])
            .expect("one piece");
        self.pushed = self.writer.end();
        let raw = self.decoder.next_record().expect("sound WAL");
        let raw = raw.expect("a whole record");
        self.files.apply(&raw);
        let record = raw.decode().expect("a sound record");
        let stop = std::mem::replace(&mut self.last_end, record.end);
        if record.header.rmgr == RmgrId::BuiltIn(Rmgr::Transaction) {
            let (time, _) = record.main_data.split_first_chunk().expect("a commit");
            self.commits.push(Commit {
                stop,
                end: record.end,
                time: PgTime::from_le_bytes(*time),
                xid: record.header.xid,
            });
        }
        start
    }

    /// Ends the timeline: behind a record, or inside of one, which then never ends. Gives the next, and where it
    /// begins.
    fn promote(&mut self, rng: &mut Rng) -> (PgTimelineId, Lsn) {
        let cut = rng.one_in(2).then(|| {
            let message = NewRecord::new(Rmgr::LogicalMessage, 0, &[7; 9000]);
            self.writer.write_cut(&message)
        });
        let (previous, at) = (self.writer.timeline, self.writer.end());
        self.writer.timeline += 1 + rng.below(2) as u32;
        if let Some(start) = cut {
            let words = [start.get(), 700_000_000];
            let main = words.map(u64::to_le_bytes).concat();
            self.write(&NewRecord::new(Rmgr::Xlog, 0xD0, &main));
        }
        let mut main = 700_000_000_i64.to_le_bytes().to_vec();
        main.extend_from_slice(&self.writer.timeline.to_le_bytes());
        main.extend_from_slice(&previous.to_le_bytes());
        self.write(&NewRecord::new(Rmgr::Xlog, 0x90, &main));
        (self.writer.timeline, at)
    }

    fn mains(&self, db: u32) -> Vec<(RelFileLocator, usize)> {
        let main = |((rel, fork), pages): (&Fork, &Vec<_>)| {
            let wanted = *fork == ForkNumber::Main && rel.db == db;
            wanted.then_some((*rel, pages.len()))
        };
        self.files.forks.iter().filter_map(main).collect()
    }

    fn some_record(&mut self, rng: &mut Rng, databases: bool) -> NewRecord {
        let db = if rng.one_in(4) && !self.mains(COPY).is_empty() {
            COPY
        } else {
            DATABASE
        };
        let there = self.mains(db);
        if there.is_empty() {
            return create(rel(DATABASE, rng.below(MAX_RELATIONS)));
        }
        let (rel_here, blocks) = there[rng.below(there.len() as u64) as usize];
        match rng.below(100) {
            0..50 => self.insert(rel_here, blocks, rng),
            50..65 => self.delete(rel_here, blocks, rng),
            65..70 => self.image(rel_here, blocks, rng),
            70..75 => {
                // A server gives a new relation a number that no file has.
                let new = rel(db, rng.below(MAX_RELATIONS));
                match self.files.forks.contains_key(&(new, ForkNumber::Main)) {
                    true => self.insert(rel_here, blocks, rng),
                    false => create(new),
                }
            }
            75..80 => truncate(rel_here, rng.below(blocks as u64 + 1) as u32),
            80..84 => self.commit(&[rel_here]),
            84..90 => self.commit(&[]),
            90..92 if databases => copy_database(),
            92..93 if databases => drop_database(),
            93..95 => {
                let checkpoint = CheckPoint {
                    redo: self.writer.end(),
                    this_tli: self.writer.timeline,
                    next_full_xid: u64::from(self.xid),
                    ..CheckPoint::default()
                };
                NewRecord::new(Rmgr::Xlog, 0x10, &checkpoint.encode())
            }
            95..97 => NewRecord::new(Rmgr::Clog, 0, &(1 + rng.below(40) as u32).to_le_bytes()),
            _ => {
                let mut message = vec![0; rng.below(9000) as usize];
                rng.fill(&mut message);
                NewRecord::new(Rmgr::LogicalMessage, 0, &message)
            }
        }
    }

    /// Line pointers in use on a page.
    fn tuples(&self, rel: RelFileLocator, block: usize) -> u16 {
        let page = &self.files.forks[&(rel, ForkNumber::Main)][block];
        let lower = u16::from_le_bytes([page[12], page[13]]);
        lower.saturating_sub(24) / 4
    }

    fn insert(&mut self, rel: RelFileLocator, blocks: usize, rng: &mut Rng) -> NewRecord {
        let target = match blocks {
            0 => 0,
            _ => rng.below(blocks as u64) as usize,
        };
        let used = if blocks == 0 {
            TUPLES_PER_PAGE
        } else {
            self.tuples(rel, target)
        };
        let init = used == 0 || used >= TUPLES_PER_PAGE;
        let block = if used >= TUPLES_PER_PAGE {
            blocks
        } else {
            target
        };
        let offset = if init { 1 } else { used + 1 };
        let mut main = offset.to_le_bytes().to_vec();
        // Sometimes the page was all visible.
        main.push(u8::from(rng.one_in(6)));
        let mut data = vec![1, 0, 0, 0x08, 24, 0];
        let mut content = vec![0; rng.between(1, 150) as usize];
        rng.fill(&mut content);
        data.extend_from_slice(&content);
        let info = if init { 0x80 } else { 0 };
        let flags = if init { 0x40 } else { 0 };
        self.xid += u32::from(rng.one_in(3));
        NewRecord::new(Rmgr::Heap, info, &main)
            .xid(self.xid)
            .block(flags, tag(rel, block), &data)
    }

    fn delete(&mut self, rel: RelFileLocator, blocks: usize, rng: &mut Rng) -> NewRecord {
        let full: Vec<_> = (0..blocks)
            .filter(|block| self.tuples(rel, *block) > 0)
            .collect();
        let Some(block) = full.get(rng.below(full.len().max(1) as u64) as usize) else {
            return self.insert(rel, blocks, rng);
        };
        let offset = rng.between(1, u64::from(self.tuples(rel, *block))) as u16;
        let mut main = self.xid.to_le_bytes().to_vec();
        main.extend_from_slice(&offset.to_le_bytes());
        main.extend_from_slice(&[0, u8::from(rng.one_in(6))]);
        NewRecord::new(Rmgr::Heap, 0x10, &main)
            .xid(self.xid)
            .block(0, tag(rel, *block), &[])
    }

    fn image(&mut self, rel: RelFileLocator, blocks: usize, rng: &mut Rng) -> NewRecord {
        if blocks == 0 {
            return self.insert(rel, blocks, rng);
        }
        let from = rng.below(blocks as u64) as usize;
        let page = &self.files.forks[&(rel, ForkNumber::Main)][from];
        if page[14] == 0 && page[15] == 0 {
            // Still all zeros.
            return self.insert(rel, blocks, rng);
        }
        // Of itself, or of a page some blocks behind the end: what is between is zeros.
        let to = match rng.below(4) {
            0 => blocks + rng.below(3) as usize,
            _ => from,
        };
        NewRecord::new(Rmgr::Xlog, 0xB0, &[]).image(tag(rel, to), page)
    }

    fn commit(&mut self, dropped: &[RelFileLocator]) -> NewRecord {
        // Clocks are set, and transactions overtake one another: times go back as well.
        self.clock += self.clock_rng.between(0, 30) as PgTime - 10;
        let mut main = self.clock.to_le_bytes().to_vec();
        main.extend_from_slice(&(1_u32 << 2).to_le_bytes());
        main.extend_from_slice(&(dropped.len() as u32).to_le_bytes());
        for rel in dropped {
            push_rel(&mut main, *rel);
        }
        self.xid += 1;
        NewRecord::new(Rmgr::Transaction, 0x80, &main).xid(self.xid - 1)
    }
}

fn rel(db: u32, number: u64) -> RelFileLocator {
    RelFileLocator {
        spc: SPC,
        db,
        rel: 16384 + number as u32,
    }
}

fn tag(rel: RelFileLocator, block: usize) -> BlockTag {
    BlockTag {
        rel,
        fork: ForkNumber::Main,
        block: block as u32,
    }
}

fn push_rel(main: &mut Vec<u8>, rel: RelFileLocator) {
    for word in [rel.spc, rel.db, rel.rel] {
        main.extend_from_slice(&word.to_le_bytes());
    }
}

fn create(rel: RelFileLocator) -> NewRecord {
    let mut main = Vec::new();
    push_rel(&mut main, rel);
    main.extend_from_slice(&0_u32.to_le_bytes());
    NewRecord::new(Rmgr::Storage, 0x10, &main)
}

fn truncate(rel: RelFileLocator, blocks: u32) -> NewRecord {
    let mut main = blocks.to_le_bytes().to_vec();
    push_rel(&mut main, rel);
    main.extend_from_slice(&7_u32.to_le_bytes());
    NewRecord::new(Rmgr::Storage, 0x20, &main)
}

fn copy_database() -> NewRecord {
    let words = [COPY, SPC, DATABASE, SPC];
    NewRecord::new(Rmgr::Database, 0, &words.map(u32::to_le_bytes).concat())
}

fn drop_database() -> NewRecord {
    let words = [COPY, 1, SPC];
    NewRecord::new(Rmgr::Database, 0x20, &words.map(u32::to_le_bytes).concat())
}

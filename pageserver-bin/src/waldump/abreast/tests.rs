//! Stretches of a page each, so that all that can lie across a boundary does: what is shown, and what is
//! said of its end, is the same as without.

use std::fs::{self, File};
use std::path::Path;

use clap::Parser;
use tempfile::TempDir;
use walrecord::{PageHeader, SegmentId, WAL_PAGE_SIZE};

use super::*;
use crate::waldump::args::Waldump;
use crate::waldump::locate::locate;
use crate::waldump::output::Output;
use crate::waldump::run::show_located;

/// The fixtures' segment size.
const SEGMENT: usize = 1 << 20;

/// A directory with the segments of real WAL: records over pages and segments, switches, records
/// that were abandoned and overwritten.
struct Wal {
    directory: TempDir,
    names: Vec<String>,
}

impl Wal {
    fn of(major: &str) -> Wal {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../walrecord/tests/fixtures");
        let packed = File::open(fixtures.join(major).join("wal.zst")).unwrap();
        let bytes = zstd::decode_all(packed).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let last = bytes
            .chunks(WAL_PAGE_SIZE)
            .filter_map(|page| PageHeader::parse(page).ok())
            .next_back()
            .unwrap();
        let mut names = Vec::new();
        for segment in bytes.chunks(SEGMENT) {
            let start = PageHeader::parse(segment).unwrap().address;
            let id = SegmentId::of(last.timeline, start, SEGMENT as u32);
            let name = id.file_name(SEGMENT as u32);
            fs::write(directory.path().join(&name), segment).unwrap();
            names.push(name);
        }
        Wal { directory, names }
    }

    /// What is shown, and what is said if it ends in an error.
    fn show(&self, options: &[&str], abreast: bool) -> (String, Option<String>) {
        #[derive(Parser)]
        struct Cli {
            #[command(flatten)]
            args: Waldump,
        }
        let end = |name: Option<&String>| self.directory.path().join(name.unwrap());
        let cli = Cli::parse_from(
            [
                "waldump".into(),
                end(self.names.first()),
                end(self.names.last()),
            ]
            .into_iter()
            .chain(options.iter().map(Into::into)),
        );
        let located = locate(&cli.args).unwrap();
        let path = self.directory.path().join("text");
        let output = Output::to(File::create(&path).unwrap());
        let dump = Dump::new(&cli.args, located.version, located.timeline, output).unwrap();
        let abreast = abreast.then_some(Abreast {
            located: &located,
            workers: 3,
            stretch: WAL_PAGE_SIZE as u64,
        });
        let result = show_located(&located, false, abreast, dump, &Stop::default());
        let text = String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned();
        (text, result.err().map(|error| format!("{error:#}")))
    }

    /// Shows it both ways; gives the text.
    fn check(&self, options: &[&str], case: &str) -> String {
        let (text, error) = self.show(options, true);
        let (expected, expected_error) = self.show(options, false);
        let line = |text: &str| text.lines().count();
        assert_eq!(line(&text), line(&expected), "{case}");
        assert!(text == expected, "{case}: the lines differ");
        assert_eq!(error, expected_error, "{case}");
        text
    }
}

#[test]
fn stretches_of_real_wal_joined_are_the_wal() {
    for major in ["14", "15", "16", "17", "18"] {
        let wal = Wal::of(major);
        let text = wal.check(&[], major);
        assert!(text.lines().count() > 10_000, "{major}");
        wal.check(&["-b", "-r", "heap"], major);
        wal.check(&["--limit", "2000"], major);
        assert_eq!(wal.check(&["--quiet"], major), "");
    }
}

#[test]
fn an_end_anywhere_near_a_boundary_ends_both_alike() {
    let mut wal = Wal::of("15");
    wal.names.drain(..wal.names.len() - 1);
    let text = wal.check(&[], "all");
    let last = wal.names.last().unwrap();
    let start = SegmentId::parse(last, SEGMENT as u32).unwrap();
    let start = start.start(SEGMENT as u32).unwrap();
    let starts = text.lines().filter_map(|line| {
        let (_, behind) = line.split_once(", lsn: ")?;
        behind.split(',').next()?.parse::<Lsn>().ok()
    });
    let mut ends: Vec<Lsn> = starts.filter(|lsn| *lsn > start).step_by(197).collect();
    ends.extend((1..4).map(|page| start + page * WAL_PAGE_SIZE as u64));
    for end in ends {
        let offset = end - start;
        for end in [offset - 8, offset, offset + 23] {
            let end = start + end.min(SEGMENT as u64);
            wal.check(&["--end", &end.to_string()], &end.to_string());
        }
    }
}

#[test]
fn damage_is_found_where_it_is() {
    let mut wal = Wal::of("16");
    wal.names.truncate(2);
    let whole = wal.check(&[], "undamaged").lines().count();
    let mut cut = 0;
    for step in 0..30 {
        let at = 40_007 + step * 63_881;
        let Some(name) = wal.names.get(at / SEGMENT) else {
            break;
        };
        let path = wal.directory.path().join(name);
        let sound = fs::read(&path).unwrap();
        let mut damaged = sound.clone();
        damaged[at % SEGMENT] ^= 0x10;
        fs::write(&path, damaged).unwrap();
        let text = wal.check(&[], &format!("byte {at}"));
        cut += usize::from(text.lines().count() < whole);
        fs::write(&path, sound).unwrap();
    }
    assert!(cut > 15, "damage was found {cut} times");
}

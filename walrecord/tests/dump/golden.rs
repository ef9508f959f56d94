//! Every record of every fixture gives the line that `pg_waldump` of its version gave, byte for byte.
//! `fixtures/README.md` says how the texts were made.

use crate::common::Fixture;
use walrecord::describe::Text;
use walrecord::dump::{BlockStyle, Stats, StatsBy, record_line};
use walrecord::{PgVersion, Record};

/// What we say of a fixture's records; each decoded, then handed to `take`.
fn dump(fixture: &Fixture, mut take: impl FnMut(&Record<'_>, &mut Text)) -> Text {
    let mut text = Text::new();
    for record in fixture.records() {
        take(&record.raw().decode().unwrap(), &mut text);
    }
    text
}

fn lines(fixture: &Fixture, style: BlockStyle) -> Text {
    dump(fixture, |record, text| {
        record_line(record, style, text).unwrap();
    })
}

/// The `pg_waldump` that made the texts of 16 is 16.4's. Minors before 16.5 forgot the dropped statistics
/// of PREPARE, which all others tell (`ParsePrepareRecord`, access/rmgrdesc/xactdesc.c).
fn without_prepared_stats(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let told = std::str::from_utf8(line).unwrap();
        if !told.contains("desc: PREPARE gid ") {
            out.extend_from_slice(line);
            continue;
        }
        let body = told.trim_end();
        let clauses = body.split("; ").filter(|clause| {
            !clause.starts_with("commit dropped stats:")
                && !clause.starts_with("abort dropped stats:")
        });
        out.extend_from_slice(clauses.collect::<Vec<_>>().join("; ").as_bytes());
        out.push(b'\n');
    }
    out
}

/// Compares whole texts, but shows only the first line that differs.
fn check(fixture: &Fixture, golden: &str, ours: &Text) {
    let theirs = fixture.unpack(golden);
    let ours = match fixture.version {
        PgVersion::V16 => without_prepared_stats(ours.as_bytes()),
        _ => ours.as_bytes().to_vec(),
    };
    if ours == theirs {
        return;
    }
    let line = |text: &[u8], number: usize| {
        let line = text.split(|byte| *byte == b'\n').nth(number);
        line.map(|line| String::from_utf8_lossy(line).into_owned())
    };
    let same = |number: &usize| line(&ours, *number) == line(&theirs, *number);
    let number = (0..).find(|number| !same(number)).unwrap();
    panic!(
        "{} of {}, line {}:\nours   {:?}\ntheirs {:?}",
        golden,
        fixture.version,
        number + 1,
        line(&ours, number),
        line(&theirs, number)
    );
}

#[test]
fn lines_are_those_of_pg_waldump() {
    for fixture in Fixture::all().chain(Fixture::newest()) {
        check(
            &fixture,
            "waldump.txt.zst",
            &lines(&fixture, BlockStyle::Short),
        );
    }
}

#[test]
fn lines_with_blocks_in_detail_are_those_of_pg_waldump() {
    for fixture in Fixture::all().chain(Fixture::newest()) {
        let ours = lines(&fixture, BlockStyle::Detailed);
        check(&fixture, "bkp-details.txt.zst", &ours);
    }
}

#[test]
fn statistics_are_those_of_pg_waldump() {
    for fixture in Fixture::all().chain(Fixture::newest()) {
        let mut stats = Stats::new();
        let mut first = None;
        let mut text = dump(&fixture, |record, _| {
            first.get_or_insert(record.start);
            stats.add(record);
        });
        stats.write(fixture.version, first.unwrap(), StatsBy::Record, &mut text);
        check(&fixture, "stats.txt.zst", &text);
    }
}

//! Which records of which version were verified, as a Markdown table.

use std::collections::BTreeMap;
use std::fmt::Write;

use walrecord::rmgr::opcode_name;
use walrecord::{PgVersion, Rmgr};

use super::report::Report;

/// Records that no workload makes, and why.
const IMPOSSIBLE: &[(&str, &str)] = &[
    ("XLOG/NOOP", "no server writes it"),
    ("Heap/HOT_UPDATE+INIT", "a HOT update stays on its page"),
    ("Gist/ASSIGN_LSN", "only with `wal_level = minimal`"),
];

/// What all reports together say of one kind of record in one version.
#[derive(Clone, Copy, Default)]
struct Cell {
    records: u64,
    equal: u64,
    wrong: u64,
    refused: u64,
}

/// The table: a row a kind of record, a column a version.
pub(super) fn markdown(reports: &[Report]) -> String {
    let mut cells: BTreeMap<(u8, String, u32), Cell> = BTreeMap::new();
    for report in reports {
        for kind in &report.kinds {
            let key = (kind.rmgr, kind.record.clone(), report.version);
            let cell = cells.entry(key).or_default();
            cell.records += kind.records;
            cell.equal += kind.equal;
            cell.wrong += kind.different + kind.failed;
            cell.refused += kind.refused;
        }
    }
    let mut text = heading(reports);
    for rmgr in Rmgr::ALL {
        for name in names(rmgr) {
            let record = format!("{}/{name}", rmgr.name());
            let row = PgVersion::ALL.map(|version| {
                if !names_in(rmgr, version).contains(&name) {
                    return "·".to_owned();
                }
                let key = (rmgr as u8, record.clone(), version.major());
                cell(cells.get(&key).copied().unwrap_or_default())
            });
            let reason = IMPOSSIBLE.iter().find(|(of, _)| *of == record);
            let reason = reason.map_or("", |(_, reason)| reason);
            let _ = writeln!(text, "| {record} | {} | {reason} |", row.join(" | "));
        }
    }
    text
}

fn heading(reports: &[Report]) -> String {
    let mut text = String::from(
        "# Redo coverage\n\nMade by `pageserver walverify --coverage-markdown`, see [testing](testing.md). \
         For each kind of record the number of pages that redo made as the WAL expects them; in parentheses \
         the number of records if there was nothing to compare: they name no page, or bring it as an image. \
         `·`: the version has no such record. Empty: not seen.\n\n",
    );
    for version in PgVersion::ALL {
        let of = || {
            reports
                .iter()
                .filter(|report| report.version == version.major())
        };
        let sum = |field: fn(&Report) -> u64| of().map(field).sum::<u64>();
        let _ = writeln!(
            text,
            "- PostgreSQL {version}: {} records, {} pages equal, {} different.",
            grouped(sum(|it| it.records)),
            grouped(sum(|it| it.equal)),
            grouped(sum(|it| it.different)),
        );
    }
    text += "\n| record | 14 | 15 | 16 | 17 | 18 | |\n|---|--:|--:|--:|--:|--:|---|\n";
    text
}

fn cell(cell: Cell) -> String {
    match cell {
        Cell { wrong: 1.., .. } => format!("**{} wrong**", grouped(cell.wrong)),
        Cell { refused: 1.., .. } => format!("{} refused", grouped(cell.refused)),
        Cell { equal: 1.., .. } => grouped(cell.equal),
        Cell { records: 1.., .. } => format!("({})", grouped(cell.records)),
        _ => String::new(),
    }
}

/// The names of a resource manager's records, over all versions, in the order of their codes.
fn names(rmgr: Rmgr) -> Vec<&'static str> {
    let mut names = Vec::new();
    for version in PgVersion::ALL {
        for name in names_in(rmgr, version) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    names
}

fn names_in(rmgr: Rmgr, version: PgVersion) -> Vec<&'static str> {
    let mut names: Vec<&'static str> = Vec::new();
    for info in (0..=0xF0u8).step_by(0x10) {
        if let Some(name) = opcode_name(rmgr, info, version)
            && !names.contains(&name)
        {
            names.push(name);
        }
    }
    names
}

fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        let texts = [0, 999, 1000, 1_234_567].map(grouped);
        assert_eq!(texts, ["0", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn each_record_has_one_row_and_cells_only_where_the_version_has_it() {
        let text = markdown(&[]);
        let row = |name: &str| {
            let start = format!("| {name} |");
            let rows: Vec<&str> = text.lines().filter(|it| it.starts_with(&start)).collect();
            assert_eq!(rows.len(), 1, "{name}");
            rows[0].to_owned()
        };
        assert_eq!(
            row("Heap2/PRUNE_ON_ACCESS"),
            "| Heap2/PRUNE_ON_ACCESS | · | · | · |  |  |  |"
        );
        assert!(row("Transaction/COMMIT").ends_with("|  |  |  |  |  |  |"));
    }
}

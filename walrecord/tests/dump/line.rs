//! Lines of records that no fixture holds: an extension's, unknown ones, and ones whose body is not what
//! it should be.

use walrecord::describe::Text;
use walrecord::dump::{BlockStyle, Stats, StatsBy, record_line};
use walrecord::rmgr::BodyError;
use walrecord::{Lsn, PgVersion, RECORD_HEADER_SIZE, Record, RecordHeader, RmgrId};

/// A record with main data and nothing else.
fn record<'a>(
    version: PgVersion,
    rmgr: u8,
    info: u8,
    data: &[u8],
    bytes: &'a mut Vec<u8>,
) -> Record<'a> {
    let header = RecordHeader {
        total_length: (RECORD_HEADER_SIZE + 2 + data.len()) as u32,
        xid: 742,
        prev: Lsn::new(0x1_0000_0028),
        info,
        rmgr: RmgrId::from_u8(rmgr).unwrap(),
        crc: 0,
    };
    bytes.extend_from_slice(&header.encode());
    bytes.extend_from_slice(&[255, data.len() as u8]);
    bytes.extend_from_slice(data);
    let start = Lsn::new(0x1_0000_0060);
    Record::parse(version, start, start + 32, bytes).unwrap()
}

fn line(version: PgVersion, rmgr: u8, info: u8, data: &[u8]) -> (String, Result<(), BodyError>) {
    let mut bytes = Vec::new();
    let record = record(version, rmgr, info, data, &mut bytes);
    let mut text = Text::new();
    let result = record_line(&record, BlockStyle::Short, &mut text);
    (String::from_utf8(text.as_bytes().to_vec()).unwrap(), result)
}

/// What every line here begins with, but for the resource manager.
const HEAD: &str = "len (rec/tot):     30/    30, tx:        742, lsn: 1/00000060, prev 1/00000028";

#[test]
fn an_extensions_record_is_shown_by_number() {
    let (text, result) = line(PgVersion::V15, 128, 0x30, b"abcd");
    assert_eq!(
        text,
        format!("rmgr: custom128   {HEAD}, desc: UNKNOWN (30) rmid: 128\n")
    );
    assert_eq!(result, Ok(()));
}

#[test]
fn an_unknown_opcode_is_shown_in_hexadecimal() {
    for version in PgVersion::ALL {
        let (text, result) = line(version, 15, 0xF0, b"abcd");
        assert_eq!(
            text,
            format!("rmgr: Sequence    {HEAD}, desc: UNKNOWN (f0) \n")
        );
        assert_eq!(result, Ok(()));
    }
}

#[test]
fn a_name_wider_than_its_column_moves_what_follows() {
    let (text, _) = line(PgVersion::V18, 19, 0x10, &[1, 0]);
    assert!(text.starts_with("rmgr: ReplicationOrigin len (rec/tot):     28/    28, tx:"));
    assert!(text.ends_with("desc: DROP drop 1\n"));
}

#[test]
fn the_line_of_a_record_with_a_wrong_body_is_whole_and_an_error_tells() {
    let (text, result) = line(PgVersion::V16, 15, 0x00, b"abcd");
    assert_eq!(text, format!("rmgr: Sequence    {HEAD}, desc: LOG \n"));
    assert!(matches!(result, Err(BodyError::Truncated { .. })));
}

#[test]
fn statistics_of_no_records_are_empty_but_in_14() {
    let mut text = Text::new();
    Stats::new().write(PgVersion::V15, Lsn::INVALID, StatsBy::Rmgr, &mut text);
    assert!(text.is_empty());
    Stats::new().write(PgVersion::V14, Lsn::INVALID, StatsBy::Rmgr, &mut text);
    let text = String::from_utf8(text.as_bytes().to_vec()).unwrap();
    assert_eq!(text.lines().count(), 2 + 22 + 2);
    assert!(text.ends_with(" 0 [100%]\n"));
}

#[test]
fn an_extensions_records_are_counted_by_opcode() {
    let mut bytes = Vec::new();
    let record = record(PgVersion::V17, 200, 0x50, b"", &mut bytes);
    let mut stats = Stats::new();
    stats.add(&record);
    let mut text = Text::new();
    stats.write(PgVersion::V17, record.start, StatsBy::Record, &mut text);
    let text = String::from_utf8(text.as_bytes().to_vec()).unwrap();
    let mut rows = text.lines();
    let head = rows.next().unwrap();
    assert_eq!(head, "WAL statistics between 1/60 and 1/80:");
    let row = rows.nth(2).unwrap();
    assert!(row.starts_with("custom200/UNKNOWN (50)                         1 (100.00) "));
}

//! `backup_label` and `tablespace_map` (access/transam/xlogbackup.c, `read_backup_label` and
//! `read_tablespace_map` in xlogrecovery.c).

use walrecord::{Lsn, Oid, PgTimelineId};

/// What `backup_label` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupLabel {
    /// Where WAL has to be applied from.
    pub start: Lsn,
    /// Where the record of the backup's checkpoint starts.
    pub checkpoint: Lsn,
    /// The Postgres timeline.
    pub timeline: PgTimelineId,
    /// The backup was taken from a standby.
    pub from_standby: bool,
}

/// A label that is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("backup_label has no valid line {0:?}")]
pub struct LabelError(&'static str);

impl BackupLabel {
    /// Reads a label.
    ///
    /// # Errors
    /// If a line that must be there is missing or wrong.
    pub fn parse(text: &str) -> Result<BackupLabel, LabelError> {
        let line = |name: &'static str| {
            text.lines()
                .find_map(|line| line.strip_prefix(name))
                .and_then(|rest| rest.strip_prefix(": "))
        };
        let start_line = "START WAL LOCATION";
        let start = line(start_line).and_then(|rest| rest.split(' ').next());
        let lsn = |name, text: Option<&str>| {
            text.and_then(|text| text.trim().parse().ok())
                .ok_or(LabelError(name))
        };
        let checkpoint_line = "CHECKPOINT LOCATION";
        let timeline_line = "START TIMELINE";
        Ok(BackupLabel {
            start: lsn(start_line, start)?,
            checkpoint: lsn(checkpoint_line, line(checkpoint_line))?,
            timeline: line(timeline_line)
                .and_then(|text| text.trim().parse().ok())
                .ok_or(LabelError(timeline_line))?,
            from_standby: line("BACKUP FROM").is_some_and(|text| text.trim() == "standby"),
        })
    }
}

/// Reads a tablespace map: lines of an object id, a space, and a path in which a backslash escapes a
/// line break or a backslash. Lines that are something else are left out.
pub fn parse_tablespace_map(bytes: &[u8]) -> Vec<(Oid, Vec<u8>)> {
    let mut lines = vec![Vec::new()];
    let mut escaped = false;
    for &byte in bytes {
        let last = lines.last_mut().expect("never empty");
        match byte {
            _ if escaped => {
                last.push(byte);
                escaped = false;
            }
            b'\\' => escaped = true,
            b'\n' => lines.push(Vec::new()),
            _ => last.push(byte),
        }
    }
    lines
        .into_iter()
        .filter_map(|line| {
            let space = line.iter().position(|byte| *byte == b' ')?;
            let spc = std::str::from_utf8(&line[..space]).ok()?.parse().ok()?;
            Some((spc, line[space + 1..].to_vec()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LABEL: &str = "START WAL LOCATION: 0/2000028 (file 000000010000000000000002)\n\
        CHECKPOINT LOCATION: 0/2000060\nBACKUP METHOD: streamed\nBACKUP FROM: primary\n\
        START TIME: 2026-11-22 14:03:00 UTC\nLABEL: x\nSTART TIMELINE: 1\n";

    #[test]
    fn reads_a_label_and_names_the_line_that_is_missing() {
        let label = BackupLabel::parse(LABEL).unwrap();
        assert_eq!(label.start, Lsn::new(0x200_0028));
        assert_eq!(label.checkpoint, Lsn::new(0x200_0060));
        assert_eq!((label.timeline, label.from_standby), (1, false));
        let cut = LABEL.replace("CHECKPOINT", "X");
        assert_eq!(
            BackupLabel::parse(&cut),
            Err(LabelError("CHECKPOINT LOCATION"))
        );
    }

    #[test]
    fn a_path_may_hold_a_line_break() {
        let map = parse_tablespace_map(b"16400 /a b\n16401 /c\\\nd\\\\e\n");
        assert_eq!(
            map,
            [(16400, b"/a b".to_vec()), (16401, b"/c\nd\\e".to_vec())]
        );
    }
}

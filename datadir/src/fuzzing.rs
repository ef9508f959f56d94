//! The bodies of the fuzz targets: each takes any bytes, and panics if a decoder breaks a promise. Serves
//! `fuzz/fuzz_targets` and, on the committed corpora, the tests below; not part of the crate otherwise.

use walrecord::{
    BlockNumber, ForkNumber, Lsn, Oid, PAGE_SIZE, PgVersion, RELSEG_BLOCKS, RelFileLocator,
    SLRU_PAGES_PER_SEGMENT, SlruKind, Xid,
};

use crate::control::crc_offset;
use crate::{
    BackupLabel, BackupSink, ControlFile, DataFile, Importer, SinkError, origins_file,
    parse_origins, parse_tablespace_map, parse_two_phase, two_phase_file,
};

/// A fuzz target: its name, which is that of its corpus, and its body.
pub type Target = (&'static str, fn(&[u8]));

/// All targets of this crate.
pub const TARGETS: &[Target] = &[
    ("backup", backup),
    ("control", control),
    ("label", label),
    ("path", path),
    ("state", state),
];

/// A control file, its checksum made right: a clone's control file that is made from it is read again.
pub fn control(input: &[u8]) {
    for version in [PgVersion::V15, PgVersion::V18] {
        let mut file = input.to_vec();
        let place = crc_offset(version);
        if file.len() >= place + 4 {
            let checksum = crc32c::crc32c(&file[..place]);
            file[place..place + 4].copy_from_slice(&checksum.to_le_bytes());
        }
        let Ok(control) = ControlFile::parse(&file) else {
            continue;
        };
        let copy = &control.checkpoint_copy;
        let clone = control.for_clone(Lsn::new(64), copy, &control.parameters);
        let clone = ControlFile::parse(&clone[..]).expect("a clone's");
        assert!(clone.shut_down);
        assert_eq!(clone.checkpoint_copy, *copy);
        assert_eq!(clone.parameters, control.parameters);
    }
}

/// A text as `backup_label`, and as `tablespace_map`: of that comes no more than went in.
pub fn label(input: &[u8]) {
    let _ = BackupLabel::parse(&String::from_utf8_lossy(input));
    let paths: usize = parse_tablespace_map(input)
        .iter()
        .map(|(_, path)| path.len())
        .sum();
    assert!(paths <= input.len());
}

/// The state of a prepared transaction, or replication origins, without the checksum: what is read is
/// written as it was.
pub fn state(input: &[u8]) {
    let _ = parse_two_phase(input);
    let _ = parse_origins(input);
    let file = two_phase_file(input);
    if let Ok(state) = parse_two_phase(&file) {
        assert_eq!(state, input);
    }
    if let Ok(origins) = parse_origins(&file) {
        let again = parse_origins(&origins_file(&origins));
        assert_eq!(again.as_ref(), Ok(&origins));
    }
}

/// A path in a data directory, the version (1 byte) in front.
pub fn path(input: &[u8]) {
    let [version, text @ ..] = input else {
        return;
    };
    if let Ok(text) = std::str::from_utf8(text) {
        let _ = DataFile::at(text, version_of(*version));
    }
}

/// A tar file, with the version (1 byte) and whether it is a tablespace's (1) in front: what the sink is
/// given are whole pages in their places, and no more bytes than there were.
pub fn backup(input: &[u8]) {
    let [version, tablespace, archive @ ..] = input else {
        return;
    };
    let mut sink = Bounded::default();
    let mut importer = Importer::new(version_of(*version), &mut sink);
    let tablespace = (tablespace & 1 != 0).then_some(16400);
    let whole = importer.archive(tablespace, archive).is_ok();
    let _ = importer.finish();
    // A file that is refused half-way was given in part.
    assert!(!whole || sink.0 <= 2 * archive.len());
}

/// A sink that checks what it is given, and counts the bytes.
#[derive(Default)]
pub(crate) struct Bounded(usize);

impl BackupSink for Bounded {
    fn relation_pages(
        &mut self,
        _: RelFileLocator,
        _: ForkNumber,
        _: BlockNumber,
        bytes: &[u8],
    ) -> Result<(), SinkError> {
        assert!(!bytes.is_empty() && bytes.len().is_multiple_of(PAGE_SIZE));
        assert!(bytes.len() <= RELSEG_BLOCKS as usize * PAGE_SIZE);
        self.0 += bytes.len();
        Ok(())
    }

    fn relation_blocks(&mut self, _: RelFileLocator, _: ForkNumber, _: BlockNumber) {}

    fn slru_segment(&mut self, _: SlruKind, _: u32, bytes: &[u8]) -> Result<(), SinkError> {
        assert!(bytes.len().is_multiple_of(PAGE_SIZE));
        assert!(bytes.len() <= SLRU_PAGES_PER_SEGMENT as usize * PAGE_SIZE);
        self.0 += bytes.len();
        Ok(())
    }

    fn database_directory(&mut self, _: Oid, _: Oid) {}

    fn relation_map(&mut self, _: Oid, _: Oid, content: &[u8]) {
        self.0 += content.len();
    }

    fn tablespace(&mut self, _: Oid, path: &[u8]) {
        self.0 += path.len();
    }

    fn two_phase(&mut self, _: Xid, state: &[u8]) {
        self.0 += state.len();
    }

    fn origin(&mut self, _: u16, _: Lsn) {}

    fn config(&mut self, _: &str, content: &[u8]) {
        self.0 += content.len();
    }
}

fn version_of(choice: u8) -> PgVersion {
    PgVersion::ALL[usize::from(choice) % PgVersion::ALL.len()]
}

#[cfg(test)]
#[path = "../../walrecord/fuzz/replay.rs"]
mod replay;

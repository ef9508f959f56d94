//! What the tests on real WAL share: a directory of segments as a source of records.

use std::error::Error;
use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use walrecord::{Lsn, PgVersion, RedoRules, SegmentId, WalSource};

/// Bytes of a segment, as `initdb` chooses if not asked otherwise.
const SEGMENT_SIZE: u32 = 16 << 20;

/// The segments of timeline 1 in a directory.
pub(crate) struct Directory {
    path: PathBuf,
}

impl Directory {
    /// The directory that `ZENITH_WAL_DIR` names.
    pub(crate) fn from_env() -> Result<Directory, Box<dyn Error>> {
        let path = path_from_env("ZENITH_WAL_DIR")?;
        Ok(Directory { path })
    }

    /// Where its first segment begins.
    pub(crate) fn start(&self) -> Result<Lsn, Box<dyn Error>> {
        std::fs::read_dir(&self.path)?
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter_map(|name| SegmentId::parse(&name, SEGMENT_SIZE).ok())
            .filter_map(|segment| segment.start(SEGMENT_SIZE))
            .min()
            .ok_or_else(|| "no WAL segment in ZENITH_WAL_DIR".into())
    }
}

impl WalSource for Directory {
    type Error = std::io::Error;

    fn read_at(&self, lsn: Lsn, buf: &mut [u8]) -> std::io::Result<usize> {
        let name = SegmentId::of(1, lsn, SEGMENT_SIZE).file_name(SEGMENT_SIZE);
        match File::open(self.path.join(name)) {
            Ok(file) => file.read_at(buf, u64::from(lsn.segment_offset(SEGMENT_SIZE))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(0),
            Err(error) => Err(error),
        }
    }
}

/// The rule set that the environment asks for; the version comes from the WAL.
pub(crate) fn rules(version: PgVersion) -> Result<RedoRules, Box<dyn Error>> {
    Ok(RedoRules {
        version,
        minor: std::env::var("ZENITH_PG_MINOR").map_or(Ok(18), |text| text.parse())?,
        hint_bits_logged: std::env::var("ZENITH_NO_HINTS").is_err(),
    })
}

/// The path that an environment variable holds.
pub(crate) fn path_from_env(name: &str) -> Result<PathBuf, Box<dyn Error>> {
    let path = std::env::var(name).map_err(|_| format!("{name} is not set"))?;
    Ok(Path::new(&path).to_owned())
}

//! Why a checkout fails.

use std::io;
use std::path::{Path, PathBuf};

use walrecord::{Lsn, Oid, PgTimelineId};

use super::source::SourceError;
use crate::control::ControlError;

/// Why a checkout fails. Whatever was written has been removed again, as far as the file system let us.
#[derive(Debug, thiserror::Error)]
pub enum CheckoutError {
    /// A directory to be written into holds something already.
    #[error("{} exists and is not an empty directory", .0.display())]
    NotEmpty(PathBuf),
    /// A file or directory cannot be written.
    #[error("writing {}: {source}", path.display())]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The source cannot give something.
    #[error("reading {what}: {source}")]
    Source {
        /// What was asked for.
        what: String,
        /// Why it is not to be had.
        source: SourceError,
    },
    /// The source gave fewer or more pages than were asked for.
    #[error("{what}: {found} pages came instead of {expected}")]
    PageCount {
        /// What was asked for.
        what: String,
        /// Pages that were to come.
        expected: u32,
        /// Pages that came.
        found: u32,
    },
    /// The source has no `global/pg_control`.
    #[error("the snapshot has no control file")]
    NoControlFile,
    /// The imported control file cannot be used.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// No record can begin at the snapshot's position.
    #[error("{0} is no boundary between WAL records")]
    Position(Lsn),
    /// The new timeline does not come after the parent's.
    #[error(
        "Postgres timeline {new} cannot branch off timeline {parent}: its number must be higher"
    )]
    Timeline {
        /// The timeline of the checkout.
        new: PgTimelineId,
        /// The parent's.
        parent: PgTimelineId,
    },
    /// A tablespace mapping names a path that is no tablespace's.
    #[error("no tablespace is at {0:?}")]
    UnknownTablespace(String),
    /// A tablespace mapping leads to a relative path.
    #[error("tablespace {oid} is mapped to {path:?}, which is not an absolute path")]
    RelativeTablespace {
        /// The tablespace.
        oid: Oid,
        /// Where it was to go.
        path: String,
    },
}

impl CheckoutError {
    /// Of writing `path`.
    pub(crate) fn write(path: &Path) -> impl FnOnce(io::Error) -> CheckoutError {
        move |source| CheckoutError::Write {
            path: path.to_owned(),
            source,
        }
    }

    /// Of asking the source for `what`.
    pub(crate) fn source(what: impl Into<String>) -> impl FnOnce(SourceError) -> CheckoutError {
        move |source| CheckoutError::Source {
            what: what.into(),
            source,
        }
    }
}

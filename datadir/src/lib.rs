//! The layout of a PostgreSQL data directory, 14 to 18: base backups read, checkouts written.
//!
//! [`Importer`] reads a base backup (a directory, or tar archives as they stream in) and hands its parts
//! to a [`BackupSink`]. [`checkout`] writes a [`SnapshotSource`] as a data directory that stock Postgres
//! starts from.
//!
//! What it is not: it knows nothing of how pages are stored, of WAL replay, or of the network.

#![forbid(unsafe_code)]

mod checkout;
mod control;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod import;
mod label;
mod path;
mod sink;
mod small;

pub use checkout::{
    CheckoutError, CheckoutOptions, CheckoutReport, CloneControl, PageConsumer, SnapshotSource,
    SourceError, checkout,
};
pub use control::{CONTROL_FILE_SIZE, ControlError, ControlFile};
pub use import::{ImportError, ImportReport, Importer, peek};
pub use label::{BackupLabel, LabelError, parse_tablespace_map};
pub use path::{DataFile, Skipped, tablespace_directory};
pub use sink::{BackupSink, SinkError};
pub use small::{StateFileError, origins_file, parse_origins, parse_two_phase, two_phase_file};

//! Whole-system tests of the page server against real PostgreSQL.
//!
//! The tests are in `tests/all`, one module for each guarantee. Here is what they share.

use std::sync::Arc;

use anyhow::Result;
use pagecache::storage::LocalStorage;
use pagecache::{Store, StoreConfig};
use slog::{Drain, Logger, o};
use std::path::Path;

/// A logger that writes to the test's captured output.
pub fn logger() -> Logger {
    struct Lines;
    impl Drain for Lines {
        type Ok = ();
        type Err = slog::Never;

        #[expect(clippy::print_stderr, reason = "the test harness captures it")]
        fn log(
            &self,
            record: &slog::Record<'_>,
            values: &slog::OwnedKVList,
        ) -> Result<(), slog::Never> {
            struct Pairs(String);
            impl slog::Serializer for Pairs {
                fn emit_arguments(
                    &mut self,
                    key: slog::Key,
                    value: &std::fmt::Arguments<'_>,
                ) -> slog::Result {
                    use std::fmt::Write as _;
                    let _ = write!(self.0, " {key}={value}");
                    Ok(())
                }
            }
            let mut pairs = Pairs(String::new());
            let _ = slog::KV::serialize(&record.kv(), record, &mut pairs);
            let _ = slog::KV::serialize(values, record, &mut pairs);
            eprintln!("{} {}{}", record.level(), record.msg(), pairs.0);
            Ok(())
        }
    }
    Logger::root(Lines.fuse(), o!())
}

/// Opens a store in a directory.
///
/// # Errors
/// If it cannot be opened.
pub fn open_store(dir: &Path, config: StoreConfig) -> Result<Store> {
    let storage = Arc::new(LocalStorage::new(dir)?);
    Ok(Store::open(storage, config, logger())?)
}

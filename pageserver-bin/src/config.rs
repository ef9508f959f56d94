//! Settings of the daemon from a TOML file. Every one has a default; a key that is unknown is an error
//! that names it.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use pagecache::StoreConfig;
use serde::Deserialize;

/// The settings file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Memory of an open layer, in MiB. See [`StoreConfig::open_layer_memory`].
    pub open_layer_memory_mb: Option<usize>,
    /// WAL after which the open layer is written out, in MiB. See [`StoreConfig::open_layer_wal`].
    pub open_layer_wal_mb: Option<u64>,
    /// Memory of frozen layers that wait to be written, in MiB. See [`StoreConfig::frozen_memory`].
    pub frozen_memory_mb: Option<usize>,
    /// Memory for blocks of layer files, in MiB. See [`StoreConfig::block_cache`].
    pub block_cache_mb: Option<usize>,
    /// Memory of each timeline for pages that take many changes, in MiB. See [`StoreConfig::hot_pages`].
    pub hot_pages_mb: Option<usize>,
    /// Pages gathered for one layer at import, in MiB. See [`StoreConfig::import_batch`].
    pub import_batch_mb: Option<usize>,
    /// Changes of a page in one layer after which it gets an image. See [`StoreConfig::max_deltas`].
    pub max_deltas: Option<usize>,
    /// The same in compacted layers. See [`StoreConfig::compacted_deltas`].
    pub compacted_deltas: Option<usize>,
    /// WAL below the last record in which every LSN stays readable, in MiB. See
    /// [`StoreConfig::history_bytes`].
    pub history_mb: Option<u64>,
    /// Time before now in which every LSN stays readable, in seconds. See [`StoreConfig::history_time`].
    pub history_time_s: Option<u64>,
    /// Versions in one layer file that a compaction writes, in MiB before compression. See
    /// [`StoreConfig::compacted_layer`].
    pub compacted_layer_mb: Option<u64>,
    /// How long a page request waits for an LSN that has not arrived, in seconds. Default 300.
    pub wait_lsn_timeout_s: Option<u64>,
    /// Connections to the page stream at once. Default 1000.
    pub max_connections: Option<usize>,
}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    /// If it cannot be read, is not TOML, or has an unknown key.
    pub fn read(path: Option<&Path>) -> Result<Config> {
        let Some(path) = path else {
            return Ok(Config::default());
        };
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("reading settings from {}", path.display()))?;
        toml::from_str(&text).with_context(|| format!("settings in {}", path.display()))
    }

    /// The store's part.
    pub fn store(&self) -> StoreConfig {
        let default = StoreConfig::default();
        let mib = |value: Option<usize>, default| value.map_or(default, |mib| mib << 20);
        StoreConfig {
            open_layer_memory: mib(self.open_layer_memory_mb, default.open_layer_memory),
            open_layer_wal: self
                .open_layer_wal_mb
                .map_or(default.open_layer_wal, |mib| mib << 20),
            frozen_memory: mib(self.frozen_memory_mb, default.frozen_memory),
            block_cache: mib(self.block_cache_mb, default.block_cache),
            hot_pages: mib(self.hot_pages_mb, default.hot_pages),
            hot_changes: default.hot_changes,
            import_batch: mib(self.import_batch_mb, default.import_batch),
            max_deltas: self.max_deltas.unwrap_or(default.max_deltas).max(1),
            compacted_deltas: self
                .compacted_deltas
                .unwrap_or(default.compacted_deltas)
                .max(1),
            layer_block: default.layer_block,
            compacted_layer: self
                .compacted_layer_mb
                .map_or(default.compacted_layer, |mib| mib << 20),
            merge_runs: default.merge_runs,
            hurried_runs: default.hurried_runs,
            history_bytes: self.history_mb.map(|mib| mib << 20),
            history_time: self.history_time_s.map(Duration::from_secs),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_is_reported_by_name() {
        let error = toml::from_str::<Config>("block_cash_mb = 3").unwrap_err();
        assert!(error.to_string().contains("block_cash_mb"), "{error}");
        let config: Config = toml::from_str("block_cache_mb = 3").unwrap();
        assert_eq!(config.store().block_cache, 3 << 20);
    }

    #[test]
    fn both_windows_can_be_set() {
        let config: Config = toml::from_str("history_mb = 2\nhistory_time_s = 90").unwrap();
        let store = config.store();
        assert_eq!(store.history_bytes, Some(2 << 20));
        assert_eq!(store.history_time, Some(Duration::from_secs(90)));
    }
}

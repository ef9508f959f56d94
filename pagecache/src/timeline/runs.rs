//! Layer files in the order in which reads meet them: as runs, the newest first.

use std::sync::Arc;

use walrecord::Lsn;

use super::stored_layer::StoredLayer;
use crate::key::Key;
use crate::layer::RunId;
use crate::manifest::Rewrite;

/// Layers that together are one sorted list of versions over a stretch of LSNs. No key has versions in two
/// layers of a run.
#[derive(Debug)]
pub(crate) struct Run {
    id: RunId,
    /// By first key.
    layers: Vec<Arc<StoredLayer>>,
    /// Keys below have gone over to another run, whatever layers here still say of them.
    from: Option<Key>,
    /// No two layers overlap in keys. Those of an import may: they come in the order of the backup.
    is_disjoint: bool,
    bytes: u64,
    min_lsn: Lsn,
    max_lsn: Lsn,
}

impl Run {
    pub(crate) fn new(id: RunId, mut layers: Vec<Arc<StoredLayer>>, from: Option<Key>) -> Run {
        layers.sort_by_key(|layer| layer.summary().first_key);
        let summaries = || layers.iter().map(|layer| layer.summary());
        let apart =
            |pair: &[Arc<StoredLayer>]| pair[0].summary().last_key < pair[1].summary().first_key;
        Run {
            id,
            is_disjoint: layers.windows(2).all(apart),
            bytes: summaries().map(|summary| summary.file_size).sum(),
            min_lsn: summaries().map(|it| it.min_lsn).min().unwrap_or(Lsn::MAX),
            max_lsn: summaries().map(|it| it.max_lsn).max().unwrap_or_default(),
            layers,
            from,
        }
    }

    /// The same run with other objects for its files.
    pub(crate) fn replaced<E>(
        &self,
        replace: &mut impl FnMut(&StoredLayer) -> Result<Arc<StoredLayer>, E>,
    ) -> Result<Run, E> {
        let layers: Result<_, E> = self.layers.iter().map(|layer| replace(layer)).collect();
        Ok(Run::new(self.id, layers?, self.from))
    }

    pub(crate) fn id(&self) -> RunId {
        self.id
    }

    /// Whether one of its files was found to be damaged.
    pub(crate) fn is_damaged(&self) -> bool {
        self.layers.iter().any(|layer| layer.damage().is_some())
    }

    /// Whether one of its files was written to be merged once more.
    pub(crate) fn is_makeshift(&self) -> bool {
        self.layers.iter().any(|layer| layer.is_makeshift())
    }

    /// Its layers, by first key.
    pub(crate) fn layers(&self) -> &[Arc<StoredLayer>] {
        &self.layers
    }

    /// Bytes of its files.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The smallest LSN of a version.
    pub(crate) fn min_lsn(&self) -> Lsn {
        self.min_lsn
    }

    /// The largest LSN of a version.
    pub(crate) fn max_lsn(&self) -> Lsn {
        self.max_lsn
    }

    /// Whether what the layers say of `key` counts.
    pub(crate) fn shows(&self, key: &Key) -> bool {
        self.from.is_none_or(|from| *key >= from)
    }

    /// The layers whose ranges hold `key`.
    pub(crate) fn candidates(&self, key: &Key) -> impl Iterator<Item = &Arc<StoredLayer>> {
        let upto = match self.shows(key) {
            true => self
                .layers
                .partition_point(|layer| layer.summary().first_key <= *key),
            false => 0,
        };
        // Of disjoint layers only the last that begins at or below the key can hold it.
        let first = match self.is_disjoint {
            true => upto.saturating_sub(1),
            false => 0,
        };
        let key = *key;
        self.layers[first..upto]
            .iter()
            .filter(move |layer| layer.summary().last_key >= key)
    }
}

/// Sorts layers into runs, the newest first. Runs do not overlap in LSNs, as far as they show the same keys, so
/// that their newest versions tell their order.
pub(crate) fn sort_into_runs(
    layers: impl IntoIterator<Item = (RunId, Arc<StoredLayer>)>,
    rewrite: Option<&Rewrite>,
) -> Vec<Arc<Run>> {
    let mut layers: Vec<_> = layers.into_iter().collect();
    layers.sort_by_key(|(run, _)| *run);
    let mut runs: Vec<Arc<Run>> = layers
        .chunk_by(|one, other| one.0 == other.0)
        .map(|layers| {
            let id = layers[0].0;
            let from = rewrite
                .filter(|rewrite| rewrite.from.contains(&id))
                .map(|rewrite| rewrite.done);
            let layers = layers.iter().map(|(_, layer)| Arc::clone(layer)).collect();
            Arc::new(Run::new(id, layers, from))
        })
        .collect();
    runs.sort_by_key(|run| std::cmp::Reverse((run.max_lsn, run.min_lsn)));
    runs
}

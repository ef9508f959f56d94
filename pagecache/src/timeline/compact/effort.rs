//! How much work a merge is worth. Compaction that is behind reduces the number of runs, which is what reads and indexing
//! wait for, and leaves the rest for when there is time.

use crate::config::StoreConfig;
use crate::layer::{LayerKind, LayerOptions};
use crate::timeline::shared::Shared;

/// How versions are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Effort {
    /// As flushes write them: lightly compressed, with images only where changes are very many. A third of the work.
    Quick,
    /// As they are to stay: small, with images enough for reads.
    Thorough,
}

impl Effort {
    /// What the present debt leaves time for.
    pub(super) fn affordable(shared: &Shared) -> Effort {
        let layers = shared.layers();
        let is_behind = layers.runs().len() >= shared.config.hurried_runs;
        match is_behind && !layers.frozen.is_empty() {
            true => Effort::Quick,
            false => Effort::of_all(shared),
        }
    }

    /// What a merge of everything, which somebody asked for, is worth.
    pub(super) fn of_all(shared: &Shared) -> Effort {
        match shared.config.hurried_runs {
            0 => Effort::Quick,
            _ => Effort::Thorough,
        }
    }

    pub(super) const fn options(self) -> LayerOptions {
        match self {
            Effort::Quick => LayerOptions::new(LayerKind::Delta),
            Effort::Thorough => LayerOptions::compact(LayerKind::Delta),
        }
    }

    /// Changes of a page in a row after which it gets an image.
    pub(super) const fn max_deltas(self, config: &StoreConfig) -> usize {
        match self {
            Effort::Quick => config.max_deltas,
            Effort::Thorough => config.compacted_deltas,
        }
    }
}

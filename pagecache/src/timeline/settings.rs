//! What a timeline keeps in its manifest, in the words of its other modules.

use std::path::Path;

use walrecord::{Lsn, RedoRules};

use super::import::ImportParams;
use crate::error::StoreError;
use crate::layer::{Layer, LayerId};
use crate::manifest::{LayerEntry, Manifest, Settings};

impl Manifest {
    pub(crate) fn for_import(params: &ImportParams, wal_start: Lsn) -> Manifest {
        Manifest {
            tenant: params.tenant,
            timeline: params.timeline,
            name: params.name.clone(),
            system_identifier: params.system_identifier,
            version: params.rules.version,
            segment_size: params.segment_size,
            pg_timeline: params.pg_timeline,
            wal_start,
            import_start: params.start,
            import_stop: Lsn::INVALID,
            disk_consistent_lsn: params.start,
            layers: Vec::new(),
            next_layer_id: LayerId::new(1),
            settings: Settings {
                data_checksums: params.data_checksums,
                rules: vec![(Lsn::INVALID, params.rules)],
            },
        }
    }

    pub(crate) fn rules_history(&self) -> Vec<(Lsn, RedoRules)> {
        self.settings.rules.clone()
    }
    pub(crate) fn set_rules(&mut self, rules: &[(Lsn, RedoRules)]) {
        self.settings.rules = rules.to_vec();
    }
}

impl Layer {
    pub(crate) fn manifest_entry(&self) -> LayerEntry {
        LayerEntry { id: self.id(), size: self.summary().file_size }
    }
}

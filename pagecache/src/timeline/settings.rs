//! What a timeline keeps in its manifest, in the words of its other modules.

use walrecord::{Lsn, RedoRules};

use super::import::ImportParams;
use crate::layer::LayerId;
use crate::manifest::{HistoryEntry, Manifest, RulesRecord, Settings};

impl Manifest {
    /// The manifest of an import that has just begun; where it stops is not known yet.
    pub(crate) fn for_import(params: &ImportParams, wal_start: Lsn) -> Manifest {
        let mut manifest = Manifest {
            tenant: params.tenant,
            timeline: params.timeline,
            name: params.name.clone(),
            system_identifier: params.system_identifier,
            version: params.rules.version,
            segment_size: params.segment_size,
            history: vec![HistoryEntry {
                timeline: params.pg_timeline,
                start: wal_start,
            }],
            import_start: params.start,
            import_stop: params.start,
            disk_consistent_lsn: params.start,
            next_layer: LayerId::new(1),
            layers: Vec::new(),
            rewrite: None,
            wal_start: Lsn::INVALID,
            gc_cutoff: Lsn::INVALID,
            leases: Vec::new(),
            ancestor: None,
            upstream: None,
            replaces: None,
            superseded: None,
            settings: Settings {
                data_checksums: params.data_checksums,
                rules: Vec::new(),
            },
        };
        manifest.set_rules(&[(Lsn::INVALID, params.rules)]);
        manifest
    }

    /// Where the WAL files begin.
    pub(crate) fn wal_start(&self) -> Lsn {
        let imported = self.import_start.segment_start(self.segment_size);
        imported.max(self.wal_start)
    }

    /// The rules by the LSN from which on they hold.
    pub(crate) fn rules_history(&self) -> Vec<(Lsn, RedoRules)> {
        let rules = self.settings.rules.iter().map(|record| {
            let rules = RedoRules {
                version: self.version,
                minor: record.minor,
                hint_bits_logged: record.hint_bits_logged,
            };
            (record.from, rules)
        });
        rules.collect()
    }

    pub(crate) fn set_rules(&mut self, rules: &[(Lsn, RedoRules)]) {
        let record = |(from, rules): &(Lsn, RedoRules)| RulesRecord {
            from: *from,
            minor: rules.minor,
            hint_bits_logged: rules.hint_bits_logged,
        };
        self.settings.rules = rules.iter().map(record).collect();
    }
}

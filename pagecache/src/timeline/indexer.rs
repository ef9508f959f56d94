//! The thread that follows the WAL files: decodes what was appended, indexes it, freezes the open layer
//! when it is large enough.

use std::sync::Arc;

use slog::{info, warn};
use walrecord::{EffectContext, Lsn, StreamDecoder};

use super::ingest::{Ingest, IngestStart};
use super::shared::Shared;
use crate::error::StoreError;

/// Bytes of WAL read and indexed at a time. A batch becomes visible whole, so this also bounds how
/// long a record that has arrived stays unreadable.
const CHUNK: usize = 256 * 1024;

/// Frozen layers that may wait to be written before indexing waits for them. With the open layer they
/// bound the memory of a timeline that is written faster than its disk.
const MAX_FROZEN: usize = 2;

/// Follows the WAL until the timeline stops. An error stops indexing (and is told to whoever waits or
/// writes) until the tail is rewound.
pub(crate) fn run(shared: &Arc<Shared>) {
    while !shared.tracker.is_stopping() {
        let rewinds = shared.rewinds();
        let Err(error) = Indexer::start(shared).and_then(|mut indexer| indexer.follow()) else {
            continue;
        };
        warn!(shared.log, "indexing stopped"; "error" => %error);
        shared.tracker.fail(error);
        shared.set_looked_at(Lsn::MAX);
        let rewound = shared.tracker.wait_while(|_| shared.rewinds() == rewinds);
        if rewound.is_some() {
            info!(shared.log, "indexing goes on after a rewind");
        }
    }
}

struct Indexer<'a> {
    shared: &'a Arc<Shared>,
    ingest: Ingest,
    decoder: StreamDecoder,
    /// The next byte to read.
    position: Lsn,
    rewinds: u64,
    buffer: Vec<u8>,
}

impl<'a> Indexer<'a> {
    fn start(shared: &'a Arc<Shared>) -> Result<Indexer<'a>, StoreError> {
        let rewinds = shared.rewinds();
        let progress = shared.tracker.get();
        let start = progress.last_record;
        let layers = shared.layers();
        let control = shared.control_at(&layers, Lsn::MAX)?;
        let context = EffectContext {
            rules: shared.rules().at(Lsn::MAX),
            track_commit_timestamp: control.parameters.track_commit_timestamp,
        };
        Ok(Indexer {
            shared,
            ingest: Ingest::new(IngestStart {
                context,
                control,
                import_stop: progress.readable_from,
                checksums: shared.checksums,
            }),
            decoder: StreamDecoder::new(start, shared.decoder_options()),
            position: start,
            rewinds,
            buffer: vec![0; CHUNK],
        })
    }

    /// Returns when the timeline stops or the tail was rewound.
    fn follow(&mut self) -> Result<(), StoreError> {
        loop {
            let position = self.position;
            let shared = self.shared;
            let rewinds = self.rewinds;
            let waited = shared.tracker.wait_while(|progress| {
                progress.written <= position
                    && shared.rewinds() == rewinds
                    && !shared.freeze_requested()
            });
            if waited.is_none() || shared.rewinds() != rewinds {
                return Ok(());
            }
            if shared.wal.end() > position {
                self.read_chunk()?;
            }
            self.freeze_if_due();
        }
    }

    fn read_chunk(&mut self) -> Result<(), StoreError> {
        let read = self
            .shared
            .wal
            .read_at(self.position, &mut self.buffer)
            .map_err(StoreError::io("reading WAL at", self.position.to_string()))?;
        let bad_wal = |decoder: &StreamDecoder, source| StoreError::BadWal {
            valid_end: decoder.position(),
            source: Box::new(source),
        };
        self.decoder
            .push(self.position, &self.buffer[..read])
            .map_err(|source| bad_wal(&self.decoder, source))?;
        self.position = self.position + read as u64;
        let mut result = Ok(());
        let mut layers = self.shared.layers();
        loop {
            let raw = match self.decoder.next_record() {
                Ok(Some(raw)) => raw,
                Ok(None) => break,
                Err(source) => {
                    result = Err(bad_wal(&self.decoder, source));
                    break;
                }
            };
            let indexed = raw
                .decode()
                .map_err(|source| StoreError::BadRecord {
                    start: raw.start,
                    end: raw.end,
                    source: Box::new(source),
                })
                .and_then(|record| {
                    let resolver = self.shared.resolver(&layers);
                    self.ingest.record(&record, &resolver)
                });
            if let Err(error) = indexed {
                // The batch may hold part of this record's effects: it is dropped whole, and what
                // was good in it is indexed again if the tail is replaced.
                return Err(error);
            }
            if self.ingest.batch.full {
                publish(self.shared, &mut self.ingest);
                layers = self.shared.layers();
            }
        }
        publish(self.shared, &mut self.ingest);
        self.shared.set_looked_at(self.position);
        result
    }

    fn freeze_if_due(&self) {
        let (memory, start) = {
            let layers = self.shared.layers();
            let open = layers.open.read();
            (open.memory(), open.start())
        };
        let end = self.shared.tracker.get().last_record;
        let config = &self.shared.config;
        let due = memory >= config.open_layer_memory
            || end.saturating_sub(start) >= config.open_layer_wal
            || self.shared.freeze_requested();
        if !due {
            return;
        }
        let shared = self.shared;
        shared
            .tracker
            .wait_while(|_| shared.layers().frozen.len() >= MAX_FROZEN);
        shared.freeze(end);
    }
}

fn publish(shared: &Shared, ingest: &mut Ingest) {
    if ingest.batch.end > shared.tracker.get().last_record {
        shared.publish(&ingest.batch);
    }
    ingest.batch_taken();
}

//! The thread that follows the WAL files: decodes what was appended, indexes it, freezes the open layer
//! when it is large enough.

use std::sync::Arc;

use slog::{info, warn};
use walrecord::{EffectContext, Lsn, Record, StreamDecoder, WalError};

use super::commit_times;
use super::ingest::{Ingest, IngestStart};
use super::pace;
use super::progress::News;
use super::shared::Shared;
use crate::error::StoreError;
use crate::open::OpenLayer;

/// Bytes of WAL read and indexed at a time. A batch becomes visible whole, so this also bounds how
/// long a record that has arrived stays unreadable.
const CHUNK: usize = 256 * 1024;

/// Follows the WAL until the timeline stops. An error stops indexing (and is told to whoever waits or
/// writes) until the tail is rewound.
pub(crate) fn run(shared: &Arc<Shared>) {
    while !shared.tracker.is_stopping() {
        let mut rewinds = shared.rewinds();
        let ready = match &shared.ancestor {
            Some(ancestor) => ancestor.wait_ready(&shared.tracker),
            None => Ok(()),
        };
        let result = ready.and_then(|()| Indexer::start(shared));
        let result = result.and_then(|mut indexer| {
            rewinds = indexer.rewinds;
            indexer.follow()
        });
        let Err(error) = result else {
            continue;
        };
        {
            let _tail = shared.tail();
            if shared.rewinds() != rewinds {
                // The WAL that the error is about is gone.
                continue;
            }
            warn!(shared.log, "indexing stopped"; "error" => %error);
            shared.tracker.fail(error);
        }
        let tracker = &shared.tracker;
        let rewound = tracker.wait_while(News::Wal, |_| shared.rewinds() == rewinds);
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

/// What was read of the WAL: up to where, and after how many rewinds.
#[derive(Clone, Copy)]
struct Taken {
    position: Lsn,
    rewinds: u64,
}

/// Whether what was read of the WAL still stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tail {
    Same,
    Rewound,
}

impl<'a> Indexer<'a> {
    fn start(shared: &'a Arc<Shared>) -> Result<Indexer<'a>, StoreError> {
        let _tail = shared.tail();
        let rewinds = shared.rewinds();
        let progress = shared.tracker.get();
        let start = progress.last_record;
        // What an earlier attempt took in and did not get to publish.
        shared.directories.forget_above(start);
        let layers = shared.layers();
        let control = shared.control_at(&layers, Lsn::MAX)?;
        let context = EffectContext {
            rules: shared.rules().after(start),
            track_commit_timestamp: control.parameters.track_commit_timestamp,
        };
        Ok(Indexer {
            shared,
            ingest: Ingest::new(&IngestStart {
                position: start,
                newest_time: commit_times::newest(&layers, start)?,
                context,
                control,
                import_stop: shared.import_stop(),
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
            let waited = shared.tracker.wait_while(News::Wal, |progress| {
                progress.written <= position
                    && shared.rewinds() == rewinds
                    && !shared.freeze_requested()
            });
            if waited.is_none() || shared.rewinds() != rewinds {
                return Ok(());
            }
            if shared.wal.end() > position {
                if self.read_chunk()? == Tail::Rewound {
                    return Ok(());
                }
                self.note_examined()?;
            }
            self.freeze_if_due();
        }
    }

    fn read_chunk(&mut self) -> Result<Tail, StoreError> {
        let read = self
            .shared
            .wal
            .read_at(self.position, &mut self.buffer)
            .map_err(StoreError::io("reading WAL at", self.position.to_string()))?;
        self.decoder
            .push(self.position, &self.buffer[..read])
            .map_err(|source| bad_wal(&self.decoder, source))?;
        self.position = self.position + read as u64;
        // A record that waited for its padding.
        if self.publish() == Tail::Rewound {
            return Ok(Tail::Rewound);
        }
        let mut layers = self.shared.layers();
        let mut rules = self.shared.rules();
        let result = loop {
            let raw = match self.decoder.next_record() {
                Ok(Some(raw)) => raw,
                Ok(None) => break Ok(()),
                Err(source) => break Err(bad_wal(&self.decoder, source)),
            };
            if raw.end > self.position {
                // Its padding (of a switch, the rest of the segment) is yet to come: it waits for that,
                // so that nothing is readable beyond the end of the WAL. What is before does not.
                let taken = Taken {
                    rewinds: self.rewinds,
                    position: self.position,
                };
                if publish(self.shared, &mut self.ingest, taken) == Tail::Rewound {
                    return Ok(Tail::Rewound);
                }
                layers = self.shared.layers();
            }
            self.ingest.context.rules = rules.of_record(raw.end);
            let mut record = Record::default();
            let indexed = raw
                .decode_into(&mut record)
                .map_err(|source| StoreError::BadRecord {
                    start: raw.start,
                    end: raw.end,
                    source: Box::new(source),
                })
                .and_then(|()| {
                    let resolver = self.shared.resolver(&layers);
                    self.ingest.record(&record, &resolver)
                });
            drop(record);
            if indexed.is_err() {
                break indexed;
            }
            if self.ingest.batch.full {
                if self.publish() == Tail::Rewound {
                    return Ok(Tail::Rewound);
                }
                layers = self.shared.layers();
                rules = self.shared.rules();
            }
        };
        // Also before damage: what precedes it is good, and stays readable.
        let tail = self.publish();
        result.map(|()| tail)
    }

    fn publish(&mut self) -> Tail {
        let taken = Taken {
            rewinds: self.rewinds,
            position: self.position,
        };
        publish(self.shared, &mut self.ingest, taken)
    }

    fn note_examined(&self) -> Result<(), StoreError> {
        if self.decoder.ended() && self.shared.is_tail_settled() {
            // A primary sends no zeros where records stand. (A crash leaves them: before the tail is
            // settled they are nothing to complain of.)
            let at = self.decoder.position();
            return Err(StoreError::ZeroWal { valid_end: at });
        }
        let _tail = self.shared.tail();
        if self.shared.rewinds() == self.rewinds {
            self.shared.tracker.set_examined(self.position);
        }
        Ok(())
    }

    fn freeze_if_due(&self) {
        let shared = self.shared;
        let (memory, start) = {
            let layers = shared.layers();
            let open = layers.open.read();
            let memory = if open.is_empty() { 0 } else { open.memory() };
            (memory, open.start())
        };
        let end = shared.tracker.get().last_record;
        let config = &shared.config;
        // Half of what its positions can tell: the next record may be a long one.
        let most = config.open_layer_wal.min(OpenLayer::MAX_SPAN / 2);
        let due = memory >= config.open_layer_memory
            || end.saturating_sub(start) >= most
            || shared.freeze_requested();
        if !due {
            return;
        }
        pace::stand_back(shared, memory);
        shared.freeze(end);
    }
}

/// Makes the batch visible if its WAL is there whole, unless it is gone by now.
fn publish(shared: &Shared, ingest: &mut Ingest, taken: Taken) -> Tail {
    let _tail = shared.tail();
    if shared.rewinds() != taken.rewinds {
        return Tail::Rewound;
    }
    if ingest.batch.end > taken.position {
        return Tail::Same;
    }
    if ingest.batch.end > shared.tracker.get().last_record {
        shared.publish(&ingest.batch);
    }
    ingest.batch_taken();
    Tail::Same
}

fn bad_wal(decoder: &StreamDecoder, source: WalError) -> StoreError {
    StoreError::BadWal {
        valid_end: decoder.position(),
        source: Box::new(source),
    }
}

//! The state of one relation fork or SLRU segment: its size, and the barriers in its past.

use walrecord::{BlockNumber, Lsn, Reader};

use super::{MetaError, finish};

/// The most barriers of one fork. Each is a truncation to a longer length than all that are kept
/// before it (a shorter one replaces them), so that a fork with more has been truncated so often without
/// once becoming shorter. None can be forgotten: what is behind it would be seen again.
const MAX_BARRIERS: usize = 1 << 16;

/// A fork's size at an LSN, and which older page versions it has left behind.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) struct ForkState {
    /// Blocks, or none if the fork does not exist.
    pub(crate) blocks: Option<BlockNumber>,
    /// Barriers by ascending LSN: versions of blocks at or above `from`, with an LSN at or below
    /// `lsn`, are void. Invariant: `from` ascends too (a barrier that covers an older one replaces it).
    barriers: Vec<Barrier>,
    /// Damage hides what it was when it was last changed: neither size nor barriers are known. Stored, so that they
    /// do not seem to be what they were before if the damage is mended.
    is_lost: bool,
}

/// What stands where others say whether the fork exists.
const LOST: u8 = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Barrier {
    lsn: Lsn,
    from: BlockNumber,
}

impl ForkState {
    /// A fork of this many blocks with nothing behind it.
    pub(crate) fn of_size(blocks: BlockNumber) -> ForkState {
        ForkState {
            blocks: Some(blocks),
            barriers: Vec::new(),
            is_lost: false,
        }
    }

    /// A fork of which nothing is known.
    pub(crate) fn lost() -> ForkState {
        ForkState {
            is_lost: true,
            ..ForkState::default()
        }
    }

    /// Whether nothing is known of it.
    pub(crate) fn is_lost(&self) -> bool {
        self.is_lost
    }

    /// The LSN at or below which versions of `block` are void; [`Lsn::INVALID`] if none are.
    pub(crate) fn floor(&self, block: BlockNumber) -> Lsn {
        self.barriers
            .iter()
            .rev()
            .find(|barrier| barrier.from <= block)
            .map_or(Lsn::INVALID, |barrier| barrier.lsn)
    }

    /// Cuts the fork to `blocks` blocks at `lsn`. Returns whether that changed anything.
    ///
    /// # Errors
    /// If the fork has too many barriers; it is as it was then.
    pub(crate) fn truncate(&mut self, lsn: Lsn, blocks: BlockNumber) -> Result<bool, MetaError> {
        match self.blocks {
            None if self.is_lost && blocks == 0 => {
                self.remove(lsn);
                self.blocks = Some(0);
                Ok(true)
            }
            Some(current) if current > blocks => {
                self.cut(lsn, blocks)?;
                self.blocks = Some(blocks);
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// Removes the fork at `lsn`. Returns whether it was there.
    pub(crate) fn remove(&mut self, lsn: Lsn) -> bool {
        self.barriers.clear();
        self.barriers.push(Barrier { lsn, from: 0 });
        let was_lost = std::mem::take(&mut self.is_lost);
        self.blocks.take().is_some() || was_lost
    }

    /// Extends the fork to at least `blocks` blocks, creating it. Returns whether that changed anything. What is not
    /// known stays so.
    pub(crate) fn extend(&mut self, blocks: BlockNumber) -> bool {
        let grows = !self.is_lost && self.blocks.is_none_or(|current| current < blocks);
        if grows {
            self.blocks = Some(blocks);
        }
        grows
    }

    fn cut(&mut self, lsn: Lsn, from: BlockNumber) -> Result<(), MetaError> {
        let keep = self.barriers.partition_point(|barrier| barrier.from < from);
        if keep >= MAX_BARRIERS {
            return Err(MetaError::TooManyTruncations);
        }
        self.barriers.truncate(keep);
        self.barriers.push(Barrier { lsn, from });
        Ok(())
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.clear();
        out.push(match self.is_lost {
            true => LOST,
            false => u8::from(self.blocks.is_some()),
        });
        out.extend_from_slice(&self.blocks.unwrap_or(0).to_le_bytes());
        for barrier in &self.barriers {
            out.extend_from_slice(&barrier.lsn.get().to_le_bytes());
            out.extend_from_slice(&barrier.from.to_le_bytes());
        }
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<ForkState, MetaError> {
        let mut r = Reader::new(bytes);
        let exists = r.u8("fork exists")?;
        let blocks = r.u32("fork blocks")?;
        let blocks = match exists {
            0 => None,
            1 => Some(blocks),
            LOST => return Err(MetaError::Lost),
            found => {
                return Err(MetaError::Field {
                    field: "fork exists",
                    found: u64::from(found),
                });
            }
        };
        let mut barriers = Vec::new();
        while r.left() > 0 && barriers.len() < MAX_BARRIERS {
            let barrier = Barrier {
                lsn: r.lsn("barrier LSN")?,
                from: r.u32("barrier block")?,
            };
            let in_order = |last: &Barrier| last.lsn < barrier.lsn && last.from < barrier.from;
            if !barriers.last().is_none_or(in_order) {
                return Err(MetaError::Field {
                    field: "barrier out of order, block",
                    found: u64::from(barrier.from),
                });
            }
            barriers.push(barrier);
        }
        finish(&r)?;
        Ok(ForkState {
            blocks,
            barriers,
            is_lost: false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lsn(value: u64) -> Lsn {
        Lsn::new(value)
    }

    #[test]
    fn a_barrier_hides_the_past_of_the_blocks_it_covers_only() {
        let mut fork = ForkState::of_size(10);
        assert_eq!(fork.truncate(lsn(100), 5), Ok(true));
        assert!(fork.extend(8));
        assert_eq!(fork.floor(4), Lsn::INVALID);
        assert_eq!(fork.floor(5), lsn(100));
        assert_eq!(fork.truncate(lsn(200), 7), Ok(true));
        assert_eq!((fork.floor(6), fork.floor(7)), (lsn(100), lsn(200)));
        assert_eq!(fork.truncate(lsn(300), 2), Ok(true));
        assert_eq!(fork.barriers.len(), 1, "the last cut covers both before it");
        assert!(fork.remove(lsn(400)));
        assert_eq!((fork.blocks, fork.floor(0)), (None, lsn(400)));
    }

    #[test]
    fn a_cut_to_the_same_or_a_longer_length_changes_nothing() {
        let mut fork = ForkState::of_size(10);
        assert_eq!(fork.truncate(lsn(100), 10), Ok(false));
        assert_eq!(fork.truncate(lsn(100), 11), Ok(false));
        assert!(!fork.extend(10));
        assert_eq!(fork, ForkState::of_size(10));
    }

    #[test]
    fn no_barrier_is_forgotten_however_many_there_are() {
        let mut fork = ForkState::of_size(u32::MAX);
        for number in 0..MAX_BARRIERS as u32 {
            assert!(fork.truncate(lsn(100 + u64::from(number)), number).is_ok());
            fork.extend(u32::MAX);
        }
        assert!(
            (0..MAX_BARRIERS as u32).all(|block| fork.floor(block) == lsn(100 + u64::from(block)))
        );
        let before = fork.clone();
        let refused = fork.truncate(lsn(1 << 20), u32::MAX - 1);
        assert_eq!(refused, Err(MetaError::TooManyTruncations));
        assert_eq!(fork, before);
        assert_eq!(fork.truncate(lsn(1 << 20), 0), Ok(true));
        assert_eq!(fork.barriers.len(), 1);
    }

    #[test]
    fn of_a_lost_fork_nothing_is_known_before_it_begins_anew() {
        let mut fork = ForkState::lost();
        assert!(!fork.extend(9));
        assert_eq!(fork.truncate(lsn(100), 5), Ok(false));
        let mut bytes = Vec::new();
        fork.encode(&mut bytes);
        assert_eq!(ForkState::decode(&bytes), Err(MetaError::Lost));
        let mut cut = fork.clone();
        assert_eq!(cut.truncate(lsn(200), 0), Ok(true));
        assert_eq!((cut.blocks, cut.floor(0)), (Some(0), lsn(200)));
        assert!(fork.remove(lsn(300)));
        assert_eq!((fork.blocks, fork.floor(7)), (None, lsn(300)));
        assert!(fork.extend(1) && !fork.is_lost());
    }

    #[test]
    fn survives_encoding_and_refuses_damage() {
        let mut fork = ForkState::of_size(10);
        fork.truncate(lsn(100), 5).unwrap();
        let mut bytes = Vec::new();
        fork.encode(&mut bytes);
        assert_eq!(ForkState::decode(&bytes), Ok(fork));
        for cut in 1..bytes.len() {
            let complete = cut == 5;
            assert_eq!(ForkState::decode(&bytes[..cut]).is_ok(), complete);
        }
        bytes[0] = 3;
        assert!(matches!(
            ForkState::decode(&bytes),
            Err(MetaError::Field { .. })
        ));
    }
}

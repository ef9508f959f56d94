//! The key filter of delta layers: a blocked Bloom filter, kept in memory while a layer is open.

use std::sync::Arc;

use super::Damage;
use crate::key::{Key, mix};

/// Bits for each key. With [`PROBES`] in blocks of a cache line, one key in a hundred that is not
/// there seems to be.
const BITS_PER_KEY: usize = 10;

/// Bits set for each key, all in one block.
const PROBES: u32 = 7;

/// Bytes of a block of the filter: a cache line.
const BLOCK: usize = 64;
/// Bits that number a bit of a block.
const BIT_BITS: u32 = (BLOCK * 8).trailing_zeros();

/// A filter as it stands in the file.
#[derive(Clone, Debug)]
pub(super) struct Filter {
    blocks: Arc<[u8]>,
}

/// Makes the payload of a filter over keys with these hashes ([`Key::stable_hash`]).
pub(super) fn encode(hashes: &[u64]) -> Vec<u8> {
    let count = (hashes.len() * BITS_PER_KEY).div_ceil(BLOCK * 8).max(1);
    let mut blocks = vec![0; count * BLOCK];
    for &hash in hashes {
        let start = block_of(hash, count) * BLOCK;
        let block = &mut blocks[start..start + BLOCK];
        for bit in bits(hash) {
            block[bit / 8] |= 1 << (bit % 8);
        }
    }
    blocks
}

impl Filter {
    /// Checks a payload.
    pub(super) fn check(payload: Arc<[u8]>) -> Result<Filter, Damage> {
        let ragged = (payload.len() % BLOCK) as u64;
        Damage::unless_equal("bytes behind the last filter block", 0, ragged)?;
        let least = BLOCK as u64;
        Damage::unless_within(
            "length of the filter",
            least..=u64::MAX,
            payload.len() as u64,
        )?;
        Ok(Filter { blocks: payload })
    }

    /// Whether the key may be in the layer: false is certain.
    pub(super) fn may_contain(&self, key: &Key) -> bool {
        let hash = key.stable_hash();
        let start = block_of(hash, self.blocks.len() / BLOCK) * BLOCK;
        let block = &self.blocks[start..start + BLOCK];
        bits(hash).all(|bit| block[bit / 8] & 1 << (bit % 8) != 0)
    }

    /// Bytes of memory.
    pub(super) fn memory(&self) -> usize {
        self.blocks.len()
    }
}

/// The upper half of the hash chooses the block, evenly for any count.
fn block_of(hash: u64, count: usize) -> usize {
    (((hash >> 32) * count as u64) >> 32) as usize
}

/// The hash, mixed once more, has seven numbers of nine bits.
fn bits(hash: u64) -> impl Iterator<Item = usize> {
    let bits = mix(hash);
    (0..PROBES).map(move |probe| (bits >> (probe * BIT_BITS)) as usize % (BLOCK * 8))
}

const _: () = assert!(PROBES * BIT_BITS <= u64::BITS);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_every_key_and_few_others() {
        let key = |number: u32| Key::file(number);
        for count in [1, 2, 50, 51, 52, 10_000] {
            let hashes: Vec<u64> = (0..count).map(|n| key(n).stable_hash()).collect();
            let filter = Filter::check(Arc::from(encode(&hashes))).unwrap();
            assert!((0..count).all(|n| filter.may_contain(&key(n))));
            assert!(filter.memory() <= count as usize * BITS_PER_KEY / 8 + BLOCK);
            let others = 100_000;
            let wrong = (count..count + others)
                .filter(|n| filter.may_contain(&key(*n)))
                .count();
            assert!(
                wrong < others as usize / 50,
                "{wrong} of {others} for {count}"
            );
        }
    }

    #[test]
    fn an_empty_or_ragged_payload_is_refused() {
        assert!(Filter::check(Arc::from([0; 0])).is_err());
        assert!(Filter::check(Arc::from([0; 65])).is_err());
    }
}

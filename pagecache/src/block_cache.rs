//! Keeps decompressed blocks of layer files in bounded memory, for all layers of a server.
//!
//! Blocks are spread over shards by their hash; each shard evicts by CLOCK: a hand goes round and
//! takes the first block that was not used since it last came by.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustc_hash::FxHashMap;

/// Blocks that have been read, checked and decompressed, by open layer and offset.
#[derive(Debug)]
pub struct BlockCache {
    /// A power of two of them.
    shards: Box<[Mutex<Shard>]>,
    next_owner: AtomicU64,
}

/// Whose blocks they are: an open layer. Its id would not do: that is unique in one timeline only, and
/// one cache serves all.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Owner(u64);

/// What a [`BlockCache`] did so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct BlockCacheStats {
    /// Look-ups that found their block.
    pub hits: u64,
    /// Look-ups that did not.
    pub misses: u64,
    /// Blocks evicted to make room.
    pub evictions: u64,
    /// Blocks held.
    pub blocks: usize,
    /// Bytes held.
    pub bytes: usize,
}

/// Most shards; more threads than this seldom meet.
const MAX_SHARDS: usize = 64;

/// Least capacity of a shard, bytes: a shard must hold many blocks for CLOCK to choose from.
const MIN_SHARD: usize = 1 << 20;

/// Bytes that a block takes besides its content, near enough.
const OVERHEAD: usize = 96;

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Name {
    owner: Owner,
    offset: u64,
}

#[derive(Debug)]
struct Shard {
    capacity: usize,
    slots: Vec<Option<Slot>>,
    free: Vec<usize>,
    by_name: FxHashMap<Name, usize>,
    hand: usize,
    stats: BlockCacheStats,
}

#[derive(Debug)]
struct Slot {
    name: Name,
    block: Arc<[u8]>,
    used: bool,
}

impl BlockCache {
    /// A cache that holds at most `capacity` bytes.
    pub fn new(capacity: usize) -> BlockCache {
        // The power of two at or below what fits.
        let shards = 1 << (capacity / MIN_SHARD).clamp(1, MAX_SHARDS).ilog2();
        BlockCache {
            shards: (0..shards)
                .map(|_| Mutex::new(Shard::new(capacity / shards)))
                .collect(),
            next_owner: AtomicU64::new(0),
        }
    }

    /// A name for the blocks of a layer that is being opened.
    pub(crate) fn new_owner(&self) -> Owner {
        Owner(self.next_owner.fetch_add(1, Ordering::Relaxed))
    }

    /// What the cache did so far, and holds now.
    pub fn stats(&self) -> BlockCacheStats {
        let mut sum = BlockCacheStats::default();
        for shard in &self.shards {
            let stats = lock(shard).stats;
            sum.hits += stats.hits;
            sum.misses += stats.misses;
            sum.evictions += stats.evictions;
            sum.blocks += stats.blocks;
            sum.bytes += stats.bytes;
        }
        sum
    }

    /// Drops the blocks of a layer that is no longer open.
    pub(crate) fn remove_all(&self, owner: Owner) {
        for shard in &self.shards {
            lock(shard).remove_all(owner);
        }
    }

    /// The block of a layer at an offset.
    pub(crate) fn get(&self, owner: Owner, offset: u64) -> Option<Arc<[u8]>> {
        let name = Name { owner, offset };
        lock(self.shard(name)).get(name)
    }

    /// Keeps a block, if it is not too large for the cache. It must have been checked: readers
    /// rely on it.
    pub(crate) fn insert(&self, owner: Owner, offset: u64, block: Arc<[u8]>) {
        let name = Name { owner, offset };
        lock(self.shard(name)).insert(name, block);
    }

    fn shard(&self, name: Name) -> &Mutex<Shard> {
        // Neighbouring blocks go to different shards. The maps inside hash in another way.
        let hash =
            (name.owner.0.rotate_left(32) ^ name.offset).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        &self.shards[hash as usize & (self.shards.len() - 1)]
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    // No step of a shard leaves it half done where it could panic.
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shard {
    fn new(capacity: usize) -> Shard {
        Shard {
            capacity,
            slots: Vec::new(),
            free: Vec::new(),
            by_name: FxHashMap::default(),
            hand: 0,
            stats: BlockCacheStats::default(),
        }
    }

    fn get(&mut self, name: Name) -> Option<Arc<[u8]>> {
        let slot = self.by_name.get(&name).copied();
        let Some(slot) = slot.and_then(|slot| self.slots[slot].as_mut()) else {
            self.stats.misses += 1;
            return None;
        };
        self.stats.hits += 1;
        slot.used = true;
        Some(Arc::clone(&slot.block))
    }

    fn insert(&mut self, name: Name, block: Arc<[u8]>) {
        let size = size(&block);
        // Another thread may have read the same block meanwhile.
        if size > self.capacity || self.by_name.contains_key(&name) {
            return;
        }
        while self.stats.bytes + size > self.capacity {
            self.evict();
        }
        let slot = Some(Slot {
            name,
            block,
            used: false,
        });
        let index = match self.free.pop() {
            Some(index) => {
                self.slots[index] = slot;
                index
            }
            None => {
                self.slots.push(slot);
                self.slots.len() - 1
            }
        };
        self.by_name.insert(name, index);
        self.stats.blocks += 1;
        self.stats.bytes += size;
    }

    /// Evicts one block. Some slot is taken, since bytes are held, and after one round of the hand
    /// none is marked used.
    fn evict(&mut self) {
        loop {
            let index = self.hand;
            self.hand = (self.hand + 1) % self.slots.len();
            match &mut self.slots[index] {
                None => {}
                Some(slot) if slot.used => slot.used = false,
                Some(_) => {
                    self.remove(index);
                    self.stats.evictions += 1;
                    return;
                }
            }
        }
    }

    fn remove_all(&mut self, owner: Owner) {
        for index in 0..self.slots.len() {
            if matches!(&self.slots[index], Some(slot) if slot.name.owner == owner) {
                self.remove(index);
            }
        }
    }

    fn remove(&mut self, index: usize) {
        if let Some(slot) = self.slots[index].take() {
            self.by_name.remove(&slot.name);
            self.free.push(index);
            self.stats.blocks -= 1;
            self.stats.bytes -= size(&slot.block);
        }
    }
}

fn size(block: &Arc<[u8]>) -> usize {
    block.len() + OVERHEAD
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAYER: Owner = Owner(7);

    fn block(len: usize) -> Arc<[u8]> {
        Arc::from(vec![1; len])
    }

    #[test]
    fn never_holds_more_than_its_capacity() {
        for capacity in [0, 1000, 5000, 100_000] {
            let cache = BlockCache::new(capacity);
            for offset in 0..500 {
                cache.insert(LAYER, offset, block(offset as usize * 7 % 2000));
                let stats = cache.stats();
                assert!(stats.bytes <= capacity, "{} of {capacity}", stats.bytes);
            }
            let held = (0..500).filter(|&offset| cache.get(LAYER, offset).is_some());
            assert_eq!(held.count(), cache.stats().blocks);
        }
    }

    #[test]
    fn keeps_what_is_used_and_evicts_what_is_not() {
        let cache = BlockCache::new(10 * (1000 + OVERHEAD));
        cache.insert(LAYER, 0, block(1000));
        for offset in 1..1000 {
            cache.insert(LAYER, offset, block(1000));
            assert!(cache.get(LAYER, 0).is_some(), "evicted at {offset}");
        }
        assert_eq!(cache.stats().evictions, 990);
    }

    #[test]
    fn a_closed_layer_is_gone_and_its_room_is_free() {
        let cache = BlockCache::new(8 << 20);
        let other = Owner(8);
        for offset in 0..1000 {
            cache.insert(LAYER, offset, block(1000));
            cache.insert(other, offset, block(1000));
        }
        cache.remove_all(LAYER);
        assert!((0..1000).all(|offset| cache.get(LAYER, offset).is_none()));
        assert!((0..1000).all(|offset| cache.get(other, offset).is_some()));
        assert_eq!(cache.stats().bytes, 1000 * (1000 + OVERHEAD));
    }

    #[test]
    fn counts_hits_and_misses() {
        let cache = BlockCache::new(8 << 20);
        cache.insert(LAYER, 1, block(10));
        cache.get(LAYER, 1);
        cache.get(LAYER, 2);
        cache.get(LAYER, 3);
        let stats = cache.stats();
        assert_eq!((stats.hits, stats.misses, stats.blocks), (1, 2, 1));
    }
}

//! Memory for pages, got from the kernel by the stretch. Serves the pages of a replay.

use anyhow::{Context, Result, ensure};
use memmap2::{Advice, MmapMut, MmapOptions};
use walrecord::{PAGE_SIZE, Page};

/// Pages for which there are addresses: 16 GiB, of which only what is used becomes memory.
const CAPACITY: usize = 1 << 21;

/// Pages whose memory is asked for at once. One by one, as they are used first, each costs two traps.
const STRETCH: usize = 32;

/// Pages, all zeros at first, by number. They begin where the processor's pages do: what the kernel copies to other
/// places takes some processors twice the time.
pub(super) struct Memory {
    mapped: MmapMut,
    used: usize,
}

impl Memory {
    /// Room for pages, none used yet.
    ///
    /// # Errors
    /// If there are no addresses left.
    pub(super) fn new() -> Result<Memory> {
        let mapped = MmapOptions::new()
            .len(CAPACITY * PAGE_SIZE)
            .no_reserve_swap()
            .map_anon()
            .context("addresses for pages")?;
        Ok(Memory { mapped, used: 0 })
    }

    /// Takes one more page into use, and gives its number.
    ///
    /// # Errors
    /// If all are in use.
    pub(super) fn take(&mut self) -> Result<u32> {
        let page = self.used;
        ensure!(page < CAPACITY, "more than {CAPACITY} pages");
        if page.is_multiple_of(STRETCH) {
            let (from, length) = (page * PAGE_SIZE, STRETCH * PAGE_SIZE);
            // A kernel that cannot (before 5.14) gives the memory on first use.
            let _ = self
                .mapped
                .advise_range(Advice::PopulateWrite, from, length);
        }
        self.used += 1;
        Ok(page as u32)
    }

    /// The page with this number.
    ///
    /// # Panics
    /// If there is none.
    #[inline]
    pub(super) fn page(&self, number: u32) -> &Page {
        &self.mapped.as_chunks().0[number as usize]
    }

    /// As [`Memory::page`].
    #[inline]
    pub(super) fn page_mut(&mut self, number: u32) -> &mut Page {
        &mut self.mapped.as_chunks_mut().0[number as usize]
    }
}

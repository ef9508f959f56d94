//! The whole of an open layer in order, as the flush writes it.

use super::arena::Handle;
use super::{Chain, OpenEntry, OpenLayer};
use crate::key::Key;

/// The keys of an [`OpenLayer`] in order, each with its versions.
pub struct Sorted<'a> {
    layer: &'a OpenLayer,
    chains: std::vec::IntoIter<(Key, Chain)>,
}

/// The versions of one key, oldest first.
#[derive(Clone)]
pub struct OpenEntries<'a> {
    layer: &'a OpenLayer,
    /// Newest first.
    handles: std::vec::IntoIter<Handle>,
}

impl<'a> Sorted<'a> {
    pub(super) fn new(layer: &'a OpenLayer) -> Sorted<'a> {
        let mut chains: Vec<(Key, Chain)> = Vec::with_capacity(layer.keys());
        chains.extend(layer.pages.iter().map(|(key, chain)| (*key, *chain)));
        chains.sort_unstable_by_key(|(key, _)| *key);
        // All metadata sorts behind all pages.
        chains.extend(layer.metadata.iter().map(|(key, chain)| (*key, *chain)));
        Sorted {
            layer,
            chains: chains.into_iter(),
        }
    }
}

impl<'a> Iterator for Sorted<'a> {
    type Item = (Key, OpenEntries<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let (key, chain) = self.chains.next()?;
        let mut handles = Vec::with_capacity(chain.len as usize);
        let mut next = chain.newest;
        while let Some(handle) = next {
            handles.push(handle);
            next = self.layer.arena.below(handle);
        }
        let entries = OpenEntries {
            layer: self.layer,
            handles: handles.into_iter(),
        };
        Some((key, entries))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.chains.size_hint()
    }
}

impl ExactSizeIterator for Sorted<'_> {}

impl<'a> Iterator for OpenEntries<'a> {
    type Item = OpenEntry<'a>;

    fn next(&mut self) -> Option<OpenEntry<'a>> {
        let handle = self.handles.next_back()?;
        Some(self.layer.arena.entry(handle))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.handles.size_hint()
    }
}

impl ExactSizeIterator for OpenEntries<'_> {}

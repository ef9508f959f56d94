//! The whole of an open layer in order, as the flush writes it.

use super::arena::Handle;
use super::{Chain, OpenEntry, OpenLayer};
use crate::key::Key;

/// Entries that a group has at least, unless it is the last: enough for what they name to be fetched many at a
/// time, few enough for that to stay in the processor's cache.
const GROUP: usize = 256;

/// The keys of an [`OpenLayer`] in order.
pub struct Sorted<'a> {
    layer: &'a OpenLayer,
    chains: std::vec::IntoIter<(Key, Chain)>,
}

/// Some keys of an [`OpenLayer`] that follow each other, each with all its versions.
pub struct KeyGroup<'a> {
    layer: &'a OpenLayer,
    /// Each with where its versions end.
    keys: Vec<(Key, usize)>,
    handles: Vec<Handle>,
}

/// Versions, those of one key oldest first.
#[derive(Clone)]
pub struct OpenEntries<'a> {
    layer: &'a OpenLayer,
    handles: std::slice::Iter<'a, Handle>,
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

    /// No keys yet, for [`Sorted::next_group`].
    pub fn group(&self) -> KeyGroup<'a> {
        KeyGroup {
            layer: self.layer,
            keys: Vec::new(),
            handles: Vec::new(),
        }
    }

    /// Puts the next keys into `group`, in place of those that it has. Returns whether there are any.
    pub fn next_group(&mut self, group: &mut KeyGroup<'a>) -> bool {
        group.keys.clear();
        group.handles.clear();
        for (key, chain) in self.chains.by_ref() {
            let from = group.handles.len();
            let mut next = chain.newest;
            while let Some(handle) = next {
                group.handles.push(handle);
                next = self.layer.arena.below(handle);
            }
            group.handles[from..].reverse();
            group.keys.push((key, group.handles.len()));
            if group.handles.len() >= GROUP {
                break;
            }
        }
        !group.keys.is_empty()
    }
}

impl KeyGroup<'_> {
    /// The keys in order, each with its versions.
    pub fn keys(&self) -> impl Iterator<Item = (Key, OpenEntries<'_>)> {
        let mut from = 0;
        self.keys.iter().map(move |(key, end)| {
            let handles = &self.handles[from..*end];
            from = *end;
            (*key, self.of(handles))
        })
    }

    /// The versions of all keys, one key after the other.
    pub fn entries(&self) -> OpenEntries<'_> {
        self.of(&self.handles)
    }

    fn of<'b>(&'b self, handles: &'b [Handle]) -> OpenEntries<'b> {
        OpenEntries {
            layer: self.layer,
            handles: handles.iter(),
        }
    }
}

impl<'a> Iterator for OpenEntries<'a> {
    type Item = OpenEntry<'a>;

    #[inline]
    fn next(&mut self) -> Option<OpenEntry<'a>> {
        let handle = self.handles.next()?;
        Some(self.layer.arena.entry(*handle))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.handles.size_hint()
    }
}

impl ExactSizeIterator for OpenEntries<'_> {}

//! One version of one key, as the open layer and the layer files know it.

use walrecord::Lsn;

use crate::key::Key;

/// What a version is, and so whether older versions of the key matter.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum EntryKind {
    /// A page, whole: 8192 bytes.
    Image = 1,
    /// A trimmed record that changes what is below it.
    Delta = 2,
    /// A trimmed record that starts the page anew, by an image or because it initialises the page.
    Init = 3,
    /// A trimmed record that changes what is below it, and creates the page if it is missing.
    Implicit = 4,
    /// A metadata value, complete.
    Value = 5,
}

/// One version of one key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EntryRef<'a> {
    /// The key.
    pub key: Key,
    /// The version: the end of the record that made it.
    pub lsn: Lsn,
    /// What `value` is.
    pub kind: EntryKind,
    /// The content.
    pub value: &'a [u8],
}

impl EntryKind {
    /// The kind with this number.
    #[inline]
    pub const fn from_u8(value: u8) -> Option<EntryKind> {
        match value {
            1 => Some(EntryKind::Image),
            2 => Some(EntryKind::Delta),
            3 => Some(EntryKind::Init),
            4 => Some(EntryKind::Implicit),
            5 => Some(EntryKind::Value),
            _ => None,
        }
    }

    /// Whether a version of this kind needs the one below it.
    #[inline]
    pub const fn needs_older(self) -> bool {
        matches!(self, EntryKind::Delta | EntryKind::Implicit)
    }
}

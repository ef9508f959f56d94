//! How the descriptions of heap and index records spell a list of named values, which is one habit for
//! each resource manager and age: `off: 5, flags: 0x00` in one, `old_bucket_flag 2, is_primary T` in
//! another (access/rmgrdesc/rmgrdesc_utils.c and the README beside it, 16 and newer).

use crate::describe::Text;
use crate::record::Record;
use crate::rmgr::{ItemPointer, LeArray};
use crate::types::{PgVersion, RelFileLocator};

/// What stands between a name and its value, and between a value and the next name.
#[derive(Clone, Copy)]
pub(super) struct Style {
    assign: &'static str,
    separate: &'static str,
}

impl Style {
    /// `left: 1, right: 2`.
    pub(super) const COLON: Style = Style::new(": ", ", ");

    /// `left 1, right 2`.
    pub(super) const COMMA: Style = Style::new(" ", ", ");

    /// `left 1; right 2`.
    pub(super) const SEMICOLON: Style = Style::new(" ", "; ");

    /// `left 1 right 2`.
    pub(super) const SPACE: Style = Style::new(" ", " ");

    const fn new(assign: &'static str, separate: &'static str) -> Style {
        Style { assign, separate }
    }
}

/// A list of named values that is being written.
pub(super) struct Fields<'t> {
    out: &'t mut Text,
    style: Style,
    started: bool,
}

impl<'t> Fields<'t> {
    /// A list that begins here.
    pub(super) const fn new(out: &'t mut Text, style: Style) -> Fields<'t> {
        Fields {
            out,
            style,
            started: false,
        }
    }

    /// The next name has a separator before it, even if it is the first.
    pub(super) const fn resume(&mut self) {
        self.started = true;
    }

    /// A name; the value is for the caller to write.
    #[inline]
    pub(super) fn name(&mut self, name: &str) -> &mut Text {
        if self.started {
            self.out.str(self.style.separate);
        }
        self.started = true;
        self.out.str(name).str(self.style.assign)
    }

    /// A number in decimal.
    #[inline]
    pub(super) fn dec(&mut self, name: &str, value: impl Into<u64>) -> &mut Fields<'t> {
        self.name(name).dec(value);
        self
    }

    /// A flag byte, as `0x1F`.
    #[inline]
    pub(super) fn byte(&mut self, name: &str, value: u8) -> &mut Fields<'t> {
        flag_byte(self.name(name), value);
        self
    }

    /// A truth, as `T` or `F`.
    pub(super) fn truth(&mut self, name: &str, value: bool) -> &mut Fields<'t> {
        truth(self.name(name), value);
        self
    }

    /// A transaction id with its epoch, as `0:745`.
    pub(super) fn full_xid(&mut self, name: &str, value: u64) -> &mut Fields<'t> {
        full_xid(self.name(name), value);
        self
    }

    /// A relation, as `1663/5/16384`.
    pub(super) fn relation(&mut self, name: &str, value: RelFileLocator) -> &mut Fields<'t> {
        self.name(name).rel(value);
        self
    }

    /// A tuple's place, as `7/1`: block and line pointer.
    pub(super) fn tid(&mut self, name: &str, value: ItemPointer) -> &mut Fields<'t> {
        tid(self.name(name), value);
        self
    }

    /// Numbers, as `[1, 2]`.
    pub(super) fn offsets(&mut self, name: &str, value: LeArray<'_, u16>) -> &mut Fields<'t> {
        offsets(self.name(name), value);
        self
    }

    /// Items that `write` spells, in brackets and with commas between.
    pub(super) fn list<T>(
        &mut self,
        name: &str,
        items: impl IntoIterator<Item = T>,
        write: impl FnMut(&mut Text, T),
    ) -> &mut Fields<'t> {
        list(self.name(name), items, write);
        self
    }
}

/// What index records call the transaction that queries on a standby must not be older than.
pub(super) fn horizon_name(version: PgVersion) -> &'static str {
    match version < PgVersion::V16 {
        true => "latestRemovedXid",
        false => "snapshotConflictHorizon",
    }
}

/// Whether block 0 has data, which many descriptions show if no image took its place.
pub(super) fn has_block_data(record: &Record<'_>) -> bool {
    record.block(0).is_some_and(|block| block.data.is_some())
}

/// Items that `write` spells, in brackets and with commas between (`array_desc`).
pub(super) fn list<T>(
    out: &mut Text,
    items: impl IntoIterator<Item = T>,
    mut write: impl FnMut(&mut Text, T),
) {
    out.byte(b'[');
    for (index, item) in items.into_iter().enumerate() {
        if index > 0 {
            out.str(", ");
        }
        write(out, item);
    }
    out.byte(b']');
}

/// Numbers, as `[1, 2]`.
pub(super) fn offsets(out: &mut Text, items: LeArray<'_, u16>) {
    list(out, items, |out, offset| {
        out.dec(offset);
    });
}

/// A flag byte, as `0x1F`.
#[inline]
pub(super) fn flag_byte(out: &mut Text, value: u8) {
    out.str("0x").hex_upper(value.into(), 2);
}

/// A truth, as `T` or `F`.
pub(super) fn truth(out: &mut Text, value: bool) {
    out.byte(if value { b'T' } else { b'F' });
}

/// A transaction id with its epoch, as `0:745`.
pub(super) fn full_xid(out: &mut Text, value: u64) {
    out.dec(value >> 32).byte(b':').dec(value as u32);
}

/// A tuple's place, as `7/1`: block and line pointer.
pub(super) fn tid(out: &mut Text, value: ItemPointer) {
    out.dec(value.block).byte(b'/').dec(value.offnum);
}

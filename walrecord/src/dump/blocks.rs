//! The blocks that a record refers to, behind its description (`XLogRecGetBlockRefInfo`,
//! access/rmgrdesc/xlogdesc.c; in 14 a part of bin/pg_waldump/pg_waldump.c).

use crate::describe::{Text, Word};
use crate::image::{BlockImage, ImageCompression};
use crate::record::{BlockRef, Record};
use crate::types::{BlockTag, ForkNumber, PAGE_SIZE, PgVersion};

/// How much is told of a record's blocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BlockStyle {
    /// Which they are and whether there is an image, in the record's own line.
    #[default]
    Short,
    /// Images in detail, each block in a line of its own (`--bkp-details`).
    Detailed,
}

/// Appends what is told of a record's blocks, and ends the line.
#[inline]
pub(super) fn describe(record: &Record<'_>, style: BlockStyle, out: &mut Text) {
    match style {
        BlockStyle::Short => {
            for block in record.blocks() {
                describe_short(block, out);
            }
            out.byte(b'\n');
        }
        BlockStyle::Detailed => {
            out.byte(b'\n');
            for block in record.blocks() {
                describe_in_detail(block, record.version, out);
            }
        }
    }
}

#[inline]
fn describe_short(block: &BlockRef<'_>, out: &mut Text) {
    let BlockTag {
        rel,
        fork,
        block: number,
    } = block.tag;
    let decimal = |value: u32| Word::decimal(u64::from(value));
    let words = (
        decimal(rel.spc),
        decimal(rel.db),
        decimal(rel.rel),
        decimal(number),
    );
    let (Some(spc), Some(db), Some(rel_word), Some(number_word)) = words else {
        return describe_long(block, out);
    };
    // At most 80 characters.
    out.within::<96>(|room| {
        room.str(", blkref #")
            .word(Word::short(block.id))
            .str(": rel ");
        room.word(spc).str("/").word(db).str("/").word(rel_word);
        if fork != ForkNumber::Main {
            room.str(" fork ").str(fork.name());
        }
        room.str(" blk ").word(number_word);
    });
    mark_image(block, out);
}

/// The same for numbers of more than eight digits.
fn describe_long(block: &BlockRef<'_>, out: &mut Text) {
    out.str(", blkref #").dec(block.id);
    out.str(": rel ").rel(block.tag.rel);
    if block.tag.fork != ForkNumber::Main {
        out.str(" fork ").str(block.tag.fork.name());
    }
    out.str(" blk ").dec(block.tag.block);
    mark_image(block, out);
}

#[inline]
fn mark_image(block: &BlockRef<'_>, out: &mut Text) {
    if let Some(image) = &block.image {
        out.str(match image.apply {
            true => " FPW",
            false => " FPW for WAL verification",
        });
    }
}

fn describe_in_detail(block: &BlockRef<'_>, version: PgVersion, out: &mut Text) {
    out.str("\tblkref #").dec(block.id);
    out.str(": rel ").rel(block.tag.rel);
    out.str(" fork ").str(block.tag.fork.name());
    out.str(" blk ").dec(block.tag.block);
    if let Some(image) = &block.image {
        describe_image(image, version, out);
    }
    out.byte(b'\n');
}

/// 14 knows one method only and does not name it.
fn describe_image(image: &BlockImage<'_>, version: PgVersion, out: &mut Text) {
    out.str(match image.apply {
        true => " (FPW); hole: offset: ",
        false => " (FPW for WAL verification); hole: offset: ",
    });
    out.dec(image.hole_offset);
    out.str(", length: ").dec(image.hole_length);
    let method = match image.compression {
        ImageCompression::None => return,
        ImageCompression::Pglz => "pglz",
        ImageCompression::Lz4 => "lz4",
        ImageCompression::Zstd => "zstd",
    };
    // C's unsigned arithmetic: compression that made an image longer shows as a huge number.
    let stored = u32::from(image.hole_length).wrapping_add(image.bytes.len() as u32);
    out.str(", compression saved: ");
    out.dec((PAGE_SIZE as u32).wrapping_sub(stored));
    if version >= PgVersion::V15 {
        out.str(", method: ").str(method);
    }
}

//! Blocks: the unit of reading, compression and checksum.
//!
//! Every block is a header and a payload ([`frame`]). The payload of a data block ([`data`]) holds
//! versions in order, made by a [`DataBuilder`]; page images in it are stored without their hole
//! ([`page_image`]).

mod builder;
mod data;
mod frame;
mod page_image;

pub(super) use builder::DataBuilder;
pub(super) use data::{DataBlock, Row};
pub(super) use frame::{
    BlockType, FRAME_HEADER, check_frame, compression_of, open_frame, write_frame,
};
pub(super) use page_image::PageBuffer;

//! `docs/format-layer.md` spells out a whole file. What is written here is that file, and that file
//! is read here: the format cannot change without the document, nor the document without notice.

use super::*;

const DOCUMENT: &str = include_str!("../../../../docs/format-layer.md");

/// The three versions that the document's file holds.
fn golden_model() -> Model {
    let mut model = Model::new();
    let mut add = |key, lsn, kind, value| {
        model.insert((key, Lsn::new(lsn)), (kind, value));
    };
    let mut empty_page = vec![0; PAGE_SIZE];
    empty_page[..24].copy_from_slice(&[
        0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0, 0, 24, 0, 0, 0x20, 0, 0x20, 4, 0x20, 0, 0, 0, 0,
    ]);
    add(page_key(16384, 7), 0x10, EntryKind::Image, empty_page);
    add(
        page_key(16384, 7),
        0x20,
        EntryKind::Delta,
        b"delta".to_vec(),
    );
    add(Key::control(), 0x18, EntryKind::Value, b"value".to_vec());
    model
}

/// The hexadecimal digits of the document's example: what stands before two spaces on each line of
/// the block behind the heading.
fn document_bytes() -> Vec<u8> {
    let (_, example) = DOCUMENT.split_once("## Example").expect("the heading");
    let (_, block) = example.split_once("```text\n").expect("the block");
    let (block, _) = block.split_once("```").expect("the end of the block");
    let digits: String = block
        .lines()
        .filter_map(|line| line.split("  ").next())
        .collect();
    digits
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

#[test]
fn the_file_in_the_document_is_what_is_written() {
    let options = options(LayerKind::Delta, Compression::None, 4096);
    let (bytes, _) = write(&golden_model(), options);
    let document = document_bytes();
    let differs = bytes.iter().zip(&document).position(|(a, b)| a != b);
    assert_eq!(differs, None, "first byte that differs");
    assert_eq!(bytes.len(), document.len());
}

#[test]
fn the_file_in_the_document_is_read() {
    let layer = open(document_bytes()).unwrap();
    layer.verify().unwrap();
    assert_eq!(
        scan(&layer, Key::all(), Lsn::MAX).unwrap(),
        expected(&golden_model(), &Key::all(), Lsn::MAX)
    );
}

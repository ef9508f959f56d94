//! Damaged files: what is read is right, or a typed error; never wrong, never a panic.

use super::super::block::FRAME_HEADER;
use super::super::footer::{FOOTER_SIZE, HEADER_SIZE};
use super::*;

/// Every structure, in a few hundred bytes: several index blocks, a key that spans data blocks,
/// pages in every form, a filter.
fn small_model() -> Model {
    let mut model = Model::new();
    let mut add = |key, lsn: u64, kind, value: Vec<u8>| {
        model.insert((key, Lsn::new(lsn)), (kind, value));
    };
    add(page_key(1, 0), 8, EntryKind::Image, vec![0; PAGE_SIZE]);
    for lsn in 2..8 {
        add(
            page_key(1, 0),
            lsn * 8,
            EntryKind::Delta,
            vec![lsn as u8; 5],
        );
    }
    add(page_key(1, 1), 16, EntryKind::Image, page(40, 8180, 3));
    add(page_key(2, 0), 24, EntryKind::Init, b"init".to_vec());
    add(
        page_key(2, 0),
        32,
        EntryKind::Implicit,
        b"implicit".to_vec(),
    );
    add(Key::control(), 40, EntryKind::Value, b"value".to_vec());
    model
}

fn small_layer(compression: Compression) -> Vec<u8> {
    write(&small_model(), options(LayerKind::Delta, compression, 80)).0
}

/// Reads everything in every way; what was read before the first error, if there is one.
fn read_all(bytes: Vec<u8>, model: &Model) -> (Vec<Vec<Version>>, Result<(), LayerError>) {
    let mut answers = Vec::new();
    let read = || {
        let layer = open(bytes)?;
        for (key, _) in model.keys() {
            answers.push(visit(&layer, key, Lsn::INVALID, Lsn::MAX)?);
        }
        answers.push(scan(&layer, Key::all(), Lsn::MAX)?);
        layer.verify()
    };
    let result = read();
    (answers, result)
}

#[test]
fn every_changed_byte_gives_right_answers_or_an_error_and_verify_finds_it() {
    let model = small_model();
    for compression in [Compression::None, Compression::Lz4, Compression::Zstd] {
        let bytes = small_layer(compression);
        let (right, result) = read_all(bytes.clone(), &model);
        result.unwrap();
        for at in 0..bytes.len() {
            for change in [0x01, 0x80, 0xFF] {
                let mut damaged = bytes.clone();
                damaged[at] ^= change;
                let (answers, result) = read_all(damaged, &model);
                assert!(answers == right[..answers.len()], "byte {at} ^ {change:#x}");
                let error = result.expect_err("verify sees every byte");
                assert!(
                    matches!(error, LayerError::Damaged { layer: ID, .. }),
                    "byte {at} ^ {change:#x}: {error}"
                );
            }
        }
    }
}

#[test]
fn every_cut_file_is_refused_when_opened() {
    let bytes = small_layer(Compression::Lz4);
    for len in 0..bytes.len() {
        assert!(open(bytes[..len].to_vec()).is_err(), "cut to {len}");
    }
}

/// Offset and length of each block, found by walking the frames.
fn frames(bytes: &[u8]) -> Vec<Range<usize>> {
    let mut frames = Vec::new();
    let mut at = HEADER_SIZE;
    while at < bytes.len() - FOOTER_SIZE {
        let stored = u32::from_le_bytes(bytes[at + 8..at + 12].try_into().unwrap());
        let end = at + FRAME_HEADER + stored as usize;
        frames.push(at..end);
        at = end;
    }
    frames
}

fn seal(bytes: &mut [u8], frame: &Range<usize>) {
    let checksum = crc32c::crc32c(&bytes[frame.start + 4..frame.end]);
    bytes[frame.start..frame.start + 4].copy_from_slice(&checksum.to_le_bytes());
}

fn seal_footer(bytes: &mut [u8]) {
    let footer = bytes.len() - FOOTER_SIZE;
    let body = crc32c::crc32c(&bytes[..footer]);
    bytes[footer + BODY_CHECKSUM..][..4].copy_from_slice(&body.to_le_bytes());
    let end = bytes.len() - 4;
    let checksum = crc32c::crc32c(&bytes[footer..end]);
    bytes[end..].copy_from_slice(&checksum.to_le_bytes());
}

/// Where the footer has the checksum of what is before it.
const BODY_CHECKSUM: usize = 104;

#[test]
fn changed_bytes_under_valid_checksums_never_panic() {
    let model = small_model();
    for compression in [Compression::None, Compression::Lz4, Compression::Zstd] {
        let bytes = small_layer(compression);
        let frames = frames(&bytes);
        for block_type in 1..=4 {
            assert!(
                frames
                    .iter()
                    .any(|frame| bytes[frame.start + 4] == block_type)
            );
        }
        let mut refused = 0;
        for at in HEADER_SIZE..bytes.len() - 4 {
            for change in [0x01, 0x02, 0x10, 0x80, 0xFF] {
                let mut damaged = bytes.clone();
                damaged[at] ^= change;
                for frame in frames.iter().filter(|frame| frame.contains(&at)) {
                    seal(&mut damaged, frame);
                }
                seal_footer(&mut damaged);
                refused += usize::from(read_all(damaged, &model).1.is_err());
            }
        }
        // The rest changed a value, or a checksum that was then set right.
        assert!(
            refused > bytes.len() * 5 / 2,
            "{refused} of {}",
            bytes.len() * 5
        );
    }
}

#[test]
fn a_value_replaced_under_its_blocks_checksum_is_found_by_verify() {
    let mut bytes = small_layer(Compression::None);
    let at = bytes.windows(5).position(|w| w == b"value").unwrap();
    bytes[at] ^= 1;
    let frames = frames(&bytes);
    let frame = frames.iter().find(|frame| frame.contains(&at)).unwrap();
    seal(&mut bytes, frame);
    let layer = open(bytes).unwrap();
    scan(&layer, Key::all(), Lsn::MAX).unwrap();
    assert!(matches!(
        layer.verify(),
        Err(LayerError::Damaged {
            offset: 0,
            damage: Damage::Checksum { .. },
            ..
        })
    ));
}

#[test]
fn exchanged_blocks_are_found_although_each_is_whole() {
    let mut model = Model::new();
    for block in 0..8 {
        let value = vec![block as u8; 40];
        model.insert((page_key(1, block), Lsn::new(8)), (EntryKind::Delta, value));
    }
    let options = options(LayerKind::Delta, Compression::None, 80);
    let (mut bytes, _) = write(&model, options);
    let frames = frames(&bytes);
    let (first, second) = (frames[0].clone(), frames[1].clone());
    assert_eq!(first.len(), second.len());
    let (low, high) = bytes.split_at_mut(second.start);
    low[first].swap_with_slice(&mut high[..second.len()]);
    let layer = open(bytes).unwrap();
    let error = visit(&layer, &page_key(1, 0), Lsn::INVALID, Lsn::MAX).unwrap_err();
    assert!(matches!(
        error,
        LayerError::Damaged {
            offset: 16,
            damage: Damage::Misplaced { .. },
            ..
        }
    ));
}

#[test]
fn a_file_of_another_version_says_so() {
    let mut bytes = small_layer(Compression::Lz4);
    let at = bytes.len() - 14;
    bytes[at] = 3;
    let error = open(bytes.clone()).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "layer 000000000000002a is damaged at {}: format version 3, this program reads up to 2",
            bytes.len() - FOOTER_SIZE
        )
    );
}

#[test]
fn a_storage_error_keeps_its_place_and_cause() {
    let bytes = small_layer(Compression::None);
    let len = bytes.len();
    let file = MemoryFile::with(bytes);
    let layer = Layer::open(file.clone(), ID, Arc::new(BlockCache::new(0))).unwrap();
    file.bytes.lock().unwrap().truncate(len / 8);
    let error = scan(&layer, Key::all(), Lsn::MAX).unwrap_err();
    assert!(matches!(
        error,
        LayerError::Io { layer: ID, offset, .. } if offset as usize >= len / 8
    ));
}

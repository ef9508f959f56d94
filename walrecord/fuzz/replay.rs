//! Runs a crate's fuzz targets without a fuzzer, so that `cargo test` finds what their corpora found once.
//! Included by the `fuzzing` module of each crate that has targets.

use std::fs;
use std::panic::catch_unwind;
use std::path::Path;

use super::TARGETS;

/// Damaged copies of a corpus's inputs that are tried, too, in all.
const COPIES: usize = 8_000;

/// The most that a target's corpus may weigh, bytes: it is in every clone of the repository.
const MAX_CORPUS: usize = 200 << 10;

#[test]
fn targets_survive_their_corpora_and_damaged_copies_of_them() {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    for (name, target) in TARGETS {
        let directory = corpora.join(name);
        let entries = fs::read_dir(&directory);
        let entries = entries.unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
        let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        let copies = (COPIES / paths.len().max(1)) as u64;
        let mut weight = 0;
        for path in &paths {
            let input = fs::read(path).unwrap();
            weight += input.len();
            for copy in 0..=copies {
                let input = damaged(&input, copy);
                let survived = catch_unwind(|| target(&input)).is_ok();
                assert!(survived, "{}, damaged copy {copy}", path.display());
            }
        }
        assert!((1..=MAX_CORPUS).contains(&weight), "{name}: {weight} bytes");
    }
}

#[test]
fn every_target_has_a_program_and_every_corpus_a_target() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let names = |directory: &str| {
        let entries = fs::read_dir(fuzz.join(directory)).unwrap();
        let stem = |path: &Path| path.file_stem().unwrap().to_str().unwrap().to_owned();
        let mut names: Vec<_> = entries.map(|entry| stem(&entry.unwrap().path())).collect();
        names.sort();
        names
    };
    let targets: Vec<_> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(names("fuzz_targets"), targets);
    assert_eq!(names("corpus"), targets);
}

/// The input with a few bytes changed, cut off or doubled; copy 0 is the input itself.
fn damaged(input: &[u8], copy: u64) -> Vec<u8> {
    let mut bytes = input.to_vec();
    // SplitMix64, so that a copy is the same on every machine.
    let mut state = copy.wrapping_mul(0xD6E8_FEB8_6659_FD93);
    let mut below = |limit: usize| {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        ((mixed ^ (mixed >> 31)) % limit as u64) as usize
    };
    for _ in 0..copy.min(1 + copy % 4) {
        if bytes.is_empty() {
            break;
        }
        let at = below(bytes.len());
        match below(8) {
            0 => bytes.truncate(at),
            1 => bytes.extend_from_within(at..),
            2 => bytes[at] = 0xFF,
            3 => bytes[at] = 0,
            4 | 5 => bytes[at] ^= 1 << below(8),
            _ => bytes[at] = below(256) as u8,
        }
    }
    bytes
}

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| pagecache::fuzzing::commit_times(input));

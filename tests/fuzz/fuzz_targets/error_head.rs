//! The front of a server's error.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| pointsman_fuzz::wire::error_head(data));

//! Replies owed, under any questions and answers.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| pointsman_fuzz::wire::owed(data));

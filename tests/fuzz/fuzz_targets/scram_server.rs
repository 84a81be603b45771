//! A client's side of SCRAM.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| pointsman_fuzz::wire::scram_server(data));

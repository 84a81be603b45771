//! First packets of a connection.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| pointsman_fuzz::wire::first_packet(data));

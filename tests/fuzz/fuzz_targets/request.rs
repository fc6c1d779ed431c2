//! Body, headers and path of a request to one provider, and what the tables hold.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz::request::run(input));

//! The bytes of a DynamoDB item, through the SDK, to a response.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz::item::run(input));

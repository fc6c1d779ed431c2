//! The bytes of a DynamoDB item, through the SDK, to an answer.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz::item::run(input));

//! The bytes of a Lambda event, to each provider's response.
#![no_main]

libfuzzer_sys::fuzz_target!(|event: &[u8]| fuzz::event::run(event));

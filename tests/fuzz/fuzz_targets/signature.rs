//! One2Pays' signature header, against a second reader of it.
#![no_main]

libfuzzer_sys::fuzz_target!(|header: fuzz::signature::Sent<'_>| fuzz::signature::run(&header));

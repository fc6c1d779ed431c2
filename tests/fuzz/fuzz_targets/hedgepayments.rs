//! Body, headers and path of a request, and what the tables hold.
#![no_main]

libfuzzer_sys::fuzz_target!(|asked: fuzz::request::Asked<'_>| fuzz::request::run::<
    hedgepayments::HedgePayments,
>(&asked));

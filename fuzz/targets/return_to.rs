//! See [`metabase_token_service_fuzz::return_to`].

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| metabase_token_service_fuzz::return_to::check(input));

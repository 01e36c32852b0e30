//! See [`metabase_token_service_fuzz::judge`].

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| metabase_token_service_fuzz::judge::check(input));

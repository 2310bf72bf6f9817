#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| ahwatch_fuzz::headers::run(data));

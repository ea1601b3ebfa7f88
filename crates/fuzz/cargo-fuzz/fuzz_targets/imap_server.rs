#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| (postrider_fuzz::TARGETS[2].run)(data));

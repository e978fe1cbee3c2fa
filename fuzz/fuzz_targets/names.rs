#![no_main]

#[path = "../../tests/crash/mod.rs"]
mod crash;
#[path = "../../tests/engine_support/mod.rs"]
mod engine_support;
#[path = "../../tests/fuzz_targets/mod.rs"]
mod fuzz_targets;

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz_targets::names(data));

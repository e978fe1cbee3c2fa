#![no_main]

#[path = "../../tests/fs/views/every_view.rs"]
mod every_view;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    support::fuzz::targets::recovery_and(data, every_view::every_view);
});

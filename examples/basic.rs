//! The quick start of the Go library immuta, in Rust: append a record, then follow the log until two seconds
//! pass without one.
//!
//! `cargo run --example basic` makes `./log-data`; the second run finds the record of the first.

use std::error::Error;
use std::time::Duration;

use immuta::{Options, Storage};

fn main() -> Result<(), Box<dyn Error>> {
    let storage = Storage::open(
        Options::new("./log-data")
            .namespaces(["events"])
            // Returns when the page cache has it; `false`: when the disk has it.
            .fast_write(true),
    )?;

    // The first record's size field is at byte 8, behind the count; the record has 11 bytes.
    let (index, size) = storage.append("events", &b"hello world"[..])?;
    println!("written at index {index}, size {size} bytes");

    // 0: from the first record; N: skip N; negative: only what comes from now on.
    let mut stream = storage.stream("events", 0)?;
    while let Some(record) = stream.next(Some(Duration::from_secs(2)))? {
        println!(
            "read: {} (size: {})",
            String::from_utf8_lossy(record.payload),
            record.size
        );
    }
    println!("no more records");

    storage.close()?;
    Ok(())
}

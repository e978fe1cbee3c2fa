//! The engine beside what the machine itself does in the same run.
//!
//! `cargo bench --bench engine` prints a table. Results that were kept are under `benches/results/`.

#![allow(missing_docs, clippy::unwrap_used)]

use std::fs::File;
use std::hint::black_box;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use immuta::{Durability, Options, Storage};

const KIB: usize = 1024;

fn main() {
    let directory = tempfile::tempdir().unwrap();
    println!("| what | ours | beside it | theirs | ratio |");
    println!("| --- | --- | --- | --- | --- |");
    for size in [100, KIB, 4 * KIB, 64 * KIB] {
        append(directory.path(), size);
    }
    batch(directory.path());
    stream(directory.path());
    sync_always(directory.path());
    open(directory.path());
}

fn row(what: &str, ours: Duration, beside: &str, theirs: Duration) {
    let ratio = ours.as_secs_f64() / theirs.as_secs_f64();
    println!("| {what} | {ours:.2?} | {beside} | {theirs:.2?} | {ratio:.2} |");
}

/// The median of the means of a few rounds: a mean in a round, since single calls are too short for the
/// clock.
fn rounds(calls: usize, mut call: impl FnMut(usize)) -> Duration {
    const ROUNDS: usize = 7;
    let mut means: Vec<Duration> = (0..ROUNDS)
        .map(|round| {
            let start = Instant::now();
            for i in 0..calls {
                call(round * calls + i);
            }
            start.elapsed() / calls as u32
        })
        .collect();
    means.sort_unstable();
    means[ROUNDS / 2]
}

fn storage(directory: &Path, name: &str, sync: Durability) -> Storage {
    Storage::open(
        Options::new(directory.join(name))
            .namespaces(["bench"])
            .sync(sync),
    )
    .unwrap()
}

fn plain(directory: &Path, name: &str) -> File {
    File::create_new(directory.join(name)).unwrap()
}

fn append(directory: &Path, size: usize) {
    let payload = vec![b'x'; size];
    let storage = storage(directory, &format!("append-{size}"), Durability::Never);
    let log = storage.log("bench").unwrap();
    let calls = (20_000_000 / size).clamp(500, 20_000);
    let ours = rounds(calls, |_| {
        log.append(&payload).unwrap();
    });

    let file = plain(directory, &format!("plain-{size}"));
    let record = vec![b'x'; size + 8];
    let theirs = rounds(calls, |i| {
        file.write_all_at(&record, (i * record.len()) as u64)
            .unwrap()
    });
    row(
        &format!("append of {size} B"),
        ours,
        "one pwrite of the same bytes",
        theirs,
    );
}

fn batch(directory: &Path) {
    const RECORDS: usize = 1000;
    let payload = vec![b'x'; KIB];
    let storage = storage(directory, "batch", Durability::Never);
    let log = storage.log("bench").unwrap();
    let payloads = vec![payload.as_slice(); RECORDS];
    let ours = rounds(100, |_| {
        log.append_batch(&payloads).unwrap();
    });

    let file = plain(directory, "plain-batch");
    let records = vec![b'x'; RECORDS * (KIB + 8)];
    let theirs = rounds(100, |i| {
        file.write_all_at(&records, (i * records.len()) as u64)
            .unwrap()
    });
    let per_record = |d: Duration| d / RECORDS as u32;
    let what = "batch of 1000 x 1 KiB, per record";
    row(
        what,
        per_record(ours),
        "the same bytes in one pwrite",
        per_record(theirs),
    );
}

fn stream(directory: &Path) {
    const RECORDS: usize = 200_000;
    let storage = storage(directory, "stream", Durability::Never);
    let payload = vec![b'x'; KIB];
    let payloads = vec![payload.as_slice(); 1000];
    for _ in 0..RECORDS / payloads.len() {
        storage
            .log("bench")
            .unwrap()
            .append_batch(&payloads)
            .unwrap();
    }
    let mut stream = storage.stream("bench", 0).unwrap();
    let start = Instant::now();
    let mut sum = 0u64;
    while let Some(record) = stream.next(Some(Duration::ZERO)).unwrap() {
        sum += record.payload.iter().map(|&b| u64::from(b)).sum::<u64>();
    }
    let ours = start.elapsed() / RECORDS as u32;
    assert_eq!(sum, (RECORDS * KIB) as u64 * u64::from(b'x'));

    let start = Instant::now();
    let mut sum = 0u64;
    let memory = vec![payload; RECORDS / 10];
    for _ in 0..10 {
        sum += black_box(&memory)
            .iter()
            .flatten()
            .map(|&b| u64::from(b))
            .sum::<u64>();
    }
    black_box(sum);
    let theirs = start.elapsed() / RECORDS as u32;
    row(
        "stream of 1 KiB records, verified, every byte summed",
        ours,
        "the sum of bytes in memory",
        theirs,
    );
}

fn sync_always(directory: &Path) {
    let payload = vec![b'x'; KIB];
    let storage = storage(directory, "always", Durability::Always);
    let log = storage.log("bench").unwrap();
    let ours = rounds(50, |_| {
        log.append(&payload).unwrap();
    });

    let file = plain(directory, "plain-always");
    let record = vec![b'x'; KIB + 8];
    let theirs = rounds(50, |i| {
        file.write_all_at(&record, (i * record.len()) as u64)
            .unwrap();
        file.sync_data().unwrap();
    });
    row(
        "append of 1 KiB, --sync always, one writer",
        ours,
        "pwrite and fdatasync",
        theirs,
    );
}

fn open(directory: &Path) {
    let mut times = Vec::new();
    for records in [1_000, 3_000_000] {
        let path = directory.join(format!("open-{records}"));
        let storage = Storage::open(Options::new(&path).namespaces(["bench"])).unwrap();
        let payloads = vec![&b"x"[..]; 1000];
        for _ in 0..records / payloads.len() {
            storage
                .log("bench")
                .unwrap()
                .append_batch(&payloads)
                .unwrap();
        }
        storage.close().unwrap();
        times.push(rounds(5, |_| {
            drop(Storage::open(Options::new(&path)).unwrap())
        }));
    }
    row(
        "opening and closing 3,000,000 records",
        times[1],
        "1,000 records",
        times[0],
    );
}

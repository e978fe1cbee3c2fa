//! Who may read one namespace does not make the others wait.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use super::calls::{WAYS, Way, bytes, look, open};
use super::{duration, seed};
use support::{DEADLINE, Mount, Random};

const ATTACKERS: u64 = 24;
/// No answer takes longer, on a machine that has other things to do. What it took is printed.
const LONGEST: Duration = Duration::from_secs(5);
const FAR: [u64; 6] = [0, 61, 1 << 20, 1 << 30, (1 << 30) + 1, (1 << 40) + 4096];

/// Looks at a file that is empty, or has the kernel move bytes out of it from far behind its end: one call only, as fast
/// as it goes.
fn attack_one(path: &Path, looks: bool, mut random: Random, stop: &AtomicBool, calls: &AtomicU64) {
    let mut file = open(path, Way::Splice).unwrap();
    while !stop.load(Ordering::Relaxed) {
        if looks {
            drop(fs::metadata(path));
        } else {
            let end = file.seek(SeekFrom::End(0)).unwrap_or(0) / 4096 * 4096;
            let offset = [end, 1 << 30, (1 << 30) + random.below(1 << 16) as u64][random.below(3)];
            drop(bytes(&file, Way::Splice, offset, 4096));
        }
        calls.fetch_add(1, Ordering::Relaxed);
    }
}

fn attack(files: &[PathBuf], mut random: Random, stop: &AtomicBool, calls: &AtomicU64) {
    while !stop.load(Ordering::Relaxed) {
        let path = &files[random.below(files.len())];
        let way = WAYS[random.below(WAYS.len() - 1)];
        let Ok(mut file) = open(path, way) else {
            continue;
        };
        for _ in 0..8 {
            let offset = FAR[random.below(FAR.len())];
            // What they say is for others to test.
            match random.below(5) {
                0 => drop(fs::metadata(path)),
                1 => drop(file.seek(SeekFrom::End(0))),
                2 => look(&file, random.draw() >> 8, offset),
                _ => drop(bytes(&file, way, offset, 4096)),
            }
            calls.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// A byte announced behind the end took a page's lock on a thread that answers requests, and `splice` there held that
/// lock until such a thread had answered it: within a second nothing was answered any more, past kill -9.
// > A program that reads one namespace, by whatever calls, does not keep the daemon from answering others.
#[test]
fn regression_who_reads_one_namespace_in_every_way_holds_up_no_other() {
    let seed = seed("hangs");
    let mount = Mount::new();
    for name in ["busy", "other"] {
        fs::create_dir(mount.path().join(name)).unwrap();
    }
    let names = "follow 0 log frames follow-frames log.jsonl follow.jsonl count stats from/0 from/end since/1h 1 2";
    let files: Vec<PathBuf> = ["default", "busy"]
        .iter()
        .flat_map(|namespace| {
            let directory = mount.path().join(namespace);
            names.split(' ').map(move |name| directory.join(name))
        })
        .collect();
    let (stop, calls) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    // Not in a scope: threads that hang end with the mount, which is dropped when this fails.
    let mut threads: Vec<_> = (0..ATTACKERS)
        .map(|n| {
            let (files, stop, calls) = (files.clone(), stop.clone(), calls.clone());
            let random = Random(seed.wrapping_mul(41) + n + 1);
            thread::spawn(move || match n % 4 {
                // The first two are in the empty log, and wait.
                role @ 0..3 => {
                    attack_one(&files[n as usize / 4 % 2], role < 2, random, &stop, &calls)
                }
                _ => attack(&files, random, &stop, &calls),
            })
        })
        .collect();
    let (stopped, append) = (stop.clone(), mount.path().join("busy/append"));
    threads.push(thread::spawn(move || {
        let mut append = File::options().append(true).open(append).unwrap();
        while !stopped.load(Ordering::Relaxed) {
            append.write_all(b"record").unwrap();
            thread::yield_now();
        }
    }));
    let (answered, answers) = mpsc::channel();
    let (stopped, count) = (stop.clone(), mount.path().join("other/count"));
    threads.push(thread::spawn(move || {
        while !stopped.load(Ordering::Relaxed) {
            let start = Instant::now();
            assert_eq!(fs::read_to_string(&count).unwrap(), "0\n");
            if answered.send(start.elapsed()).is_err() {
                return;
            }
        }
    }));
    let end = Instant::now() + duration();
    let mut took = Vec::new();
    while Instant::now() < end {
        match answers.recv_timeout(DEADLINE) {
            Ok(time) => took.push(time),
            Err(e) => panic!("after {} answers there is none: {e}", took.len()),
        }
    }
    stop.store(true, Ordering::Relaxed);
    threads
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
    took.sort_unstable();
    let (median, longest) = (took[took.len() / 2], took[took.len() - 1]);
    let p99 = took[took.len() * 99 / 100];
    println!(
        "hangs: {} answers beside {} calls: median {median:?}, p99 {p99:?}, longest {longest:?}",
        took.len(),
        calls.load(Ordering::Relaxed)
    );
    assert!(longest < LONGEST, "an answer took {longest:?}");
}

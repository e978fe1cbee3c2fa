//! Attackers: many processes' worth of every way to read, and to look, at random, beside writers. What they see is the
//! log's, and nobody else has to wait for it.
//!
//! `IMMUTA_ATTACK=SECONDS` says how long each test goes on (10; mount-scripts/test.sh says 60), `IMMUTA_SEED=NUMBER`
//! repeats one. Both are printed.

mod bytes;
mod calls;
mod hangs;

use std::time::{Duration, SystemTime};

fn setting(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().expect("a whole number"))
}

/// How long an attack goes on.
fn duration() -> Duration {
    Duration::from_secs(setting("IMMUTA_ATTACK").unwrap_or(10))
}

/// The seed of a run, which is printed.
fn seed(test: &str) -> u64 {
    let seed = setting("IMMUTA_SEED").unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        now.unwrap().subsec_nanos().into()
    });
    println!(
        "{test}: IMMUTA_SEED={seed} IMMUTA_ATTACK={}",
        duration().as_secs()
    );
    seed + 1
}

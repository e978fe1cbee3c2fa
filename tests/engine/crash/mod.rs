//! What is left after a crash, a fault or damage, and what recovery makes of it.

mod backup;
mod bounded;
mod every_fault;
mod faults;
mod flips;
mod fuzz_corpus;
mod powercut;
mod recovery;

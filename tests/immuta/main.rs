//! The program `immuta`: a file for each command, or for a few that belong together.

#![allow(clippy::unwrap_used)]

mod append;
mod completions;
mod default_directory;
mod doctor;
mod export;
mod import;
mod man;
mod repair;
mod tail;
mod top;
mod usage;
mod verify;
mod which_log;

//! The program `immuta`: a file for each command, or for a few that belong together.

#![allow(clippy::unwrap_used)]

mod completions;
mod default_directory;
mod doctor;
mod export;
mod tail;
mod top;
mod words;

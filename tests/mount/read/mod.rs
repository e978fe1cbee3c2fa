//! Reading: whole files, views that wait, and watchers.

mod blocked;
mod caching;
mod json_lines;
mod max_block;
mod polling;
mod programs;
mod starts;
mod tools;
mod watchers;

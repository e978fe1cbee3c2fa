//! Appending: by each file that takes records, and by each way to write it.

mod append_file;
mod closes;
mod exec;
mod frames;
mod log_lines;
mod receipts;
mod second_open;
mod writers;

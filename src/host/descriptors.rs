//! The open files of this process.

use std::os::fd::RawFd;

use nix::unistd::close;

/// Closes every open file but standard input, output and error, and the `passed` one. Call it before this program opens
/// anything.
pub fn close_all_but(passed: Option<RawFd>) {
    for fd in open_files() {
        if fd > 2 && Some(fd) != passed {
            // One of them is the descriptor of the listing itself, which is closed by now: that is no error.
            let _ = close(fd);
        }
    }
}

fn open_files() -> Vec<RawFd> {
    let Ok(names) = std::fs::read_dir("/proc/self/fd") else {
        return Vec::new();
    };
    names
        .filter_map(|name| name.ok()?.file_name().to_str()?.parse().ok())
        .collect()
}

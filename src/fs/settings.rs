//! What the program that mounts a file system decides about it.

/// Settings of a file system.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The daemon's user, who owns the root until `chown` gives it to another user.
    pub uid: u32,
    /// The daemon's group.
    pub gid: u32,
    /// A write of this size or more, in bytes, may be part of a larger one that the kernel has split.
    pub split_write_bytes: usize,
    /// Each write is answered, and its records are seen, when they are on the disk: the storage's
    /// [`Durability::Always`](immuta::Durability::Always).
    pub sync_always: bool,
    /// Nothing can be written: the storage is open for reading only, beside a process that writes.
    pub read_only: bool,
    /// No record through `append-lines`, `append-frames` or `log` is longer.
    pub max_record_bytes: u64,
    /// What waits for its end in `append-lines`, `append-frames` and `log`, and the writes that wait for their turn, take no
    /// more memory.
    pub max_open_bytes: u64,
}

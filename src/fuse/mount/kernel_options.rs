//! The options of a mount that are for the kernel.

/// What the kernel is told about a mount, beside what it always is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KernelOptions {
    /// Nothing can be executed.
    pub noexec: bool,
    /// `context=...` and the like, as they were given.
    pub contexts: Vec<String>,
}

//! Mount options for the kernel.

/// Options that the kernel gets beside those that every mount has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KernelOptions {
    /// No file can be executed.
    pub noexec: bool,
    /// `context=...` and the like, as they were given.
    pub contexts: Vec<String>,
}

//! Who may do what, and where that is kept.

mod kept;
mod modes;
mod unopened;
mod unprivileged;

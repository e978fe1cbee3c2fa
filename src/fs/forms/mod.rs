//! The forms in which records are read and written. This room reads logs, and changes nothing.
//!
//! - `view`: a log as text, or as frames.
//! - `lines`, `frames`: what is written, taken apart into records.
//! - `json_lines`: a log as lines of JSON; `json_index`: where those lines are; `json_export`: the same lines without a mount.
//! - `json`, `utf8`, `decimal`, `time`: how values are written.

pub(crate) mod decimal;
pub mod frames;
pub(crate) mod json;
mod json_export;
mod json_index;
pub(crate) mod json_lines;
pub mod lines;
mod time;
mod utf8;
pub mod view;

pub(crate) use decimal::{DECIMAL_DIGITS, decimal};
pub(crate) use frames::{Frames, Refused};
pub use json_export::JsonLines;
pub(crate) use json_index::{JsonIndex, Size};
pub(crate) use lines::Lines;
pub use time::parse_time;
pub(crate) use time::time;
pub(crate) use view::{Position, View};

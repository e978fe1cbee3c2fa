//! The tree that a user sees, as names and numbers alone.
//!
//! - `files`: the fixed files of a namespace, as one table.
//! - `node`: the places in the tree, and the inode numbers by which the kernel knows them.
//! - `attr`: the attributes of a place, as `stat(2)` shows them.

mod attr;
mod files;
mod node;

pub use attr::{Attr, NodeType, SetAttr};
pub(crate) use attr::{BLOCK_BYTES, FOREVER, SHORT};
pub use files::{
    ABOUT, ABOUT_FILES, About, AtEnd, Direction, FILES, File, Shows, Takes, file_named,
    parse_record,
};
pub use node::{Node, ino_of_lookup, number_of_next};

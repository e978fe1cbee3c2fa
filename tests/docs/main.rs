//! What is written down: documents, scripts, packages and messages, held against what is so.

#![allow(clippy::unwrap_used)]

mod architecture;
mod documents;
mod messages;
mod notifications;
mod packaging;
mod recipes;
mod scripts;
mod semantics;
mod tree;
mod walls;

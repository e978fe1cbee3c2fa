//! Every view of a log, for the test beside this and for the fuzz target `recovery`.

use std::sync::Arc;

use immuta::{Log, Scratch};
use immuta_fs::fs::view::{self, Position, View};

/// Reads both views.
pub(crate) fn every_view(log: &Arc<Log>) {
    for view in [View::Text, View::Frames] {
        read_view(log, view);
    }
}

/// A view from its beginning, and from some places in it, in small reads and in large ones: each read ends, and none gives
/// more than it was asked for, or more than there is.
fn read_view(log: &Log, view: View) {
    let (mut scratch, mut out) = (Scratch::default(), Vec::new());
    let end = view.end(log, &log.state());
    for from in [0, 1, end / 2, end.saturating_sub(1), end, u64::MAX] {
        for size in [7, 64 << 10] {
            let (mut position, mut at) = (Position::default(), from);
            for _ in 0..30 {
                let read = view::read(view, log, &mut position, at, size, &mut scratch, &mut out);
                if read.is_err() || out.is_empty() {
                    break;
                }
                assert!(out.len() <= size, "{view:?} at {at}: {} bytes", out.len());
                at += out.len() as u64;
            }
        }
    }
}

//! Checks the directory of the logs.

use std::path::PathBuf;

use super::probe::{DEADLINE, Probe};
use super::system::System;
use super::{Finding, unopened};

/// With less free space than this, in bytes, it is time to make room.
const LITTLE_ROOM_BYTES: u64 = 1 << 30;

/// Findings about the directory of the logs. `Err`: why there is none.
pub(super) fn findings(system: &System, dir: Result<PathBuf, String>) -> Vec<Finding> {
    let dir = match dir {
        Ok(dir) => dir,
        Err(why) => return vec![Finding::fail("logs", why, "immuta-fs LOGS_DIR MOUNTPOINT")],
    };
    let check = format!("logs in '{}'", dir.display());
    let path = system.path(&dir);
    let Some(probe) = Probe::ask(&path) else {
        let todo = "look at the disk that it is on";
        return vec![Finding::fail(
            check,
            format!("no answer within {} s", DEADLINE.as_secs()),
            todo,
        )];
    };
    if probe.is_missing() {
        let above = path
            .ancestors()
            .skip(1)
            .find_map(|above| match Probe::ask(above)? {
                probe if probe.is_missing() => None,
                probe => Some((above, probe)),
            });
        return vec![match above {
            Some((_, probe)) if probe.is_dir && probe.may_write => {
                Finding::ok(check, "not there yet: immuta-fs makes it")
            }
            _ => Finding::fail(
                check,
                "not there, and this user may not make it",
                "name another one: immuta-fs LOGS_DIR MOUNTPOINT",
            ),
        }];
    }
    if let Some(trouble) = probe.trouble() {
        return vec![Finding::fail(
            check,
            trouble,
            "name another one: immuta-fs LOGS_DIR MOUNTPOINT",
        )];
    }
    let mut findings = Vec::new();
    let written_by = match &probe.writer {
        Some(writer) => format!("in use by {writer}"),
        None => "nobody writes there now".to_owned(),
    };
    let logs = match probe.logs {
        1 => "1 log".to_owned(),
        n => format!("{n} logs"),
    };
    let what = format!("{logs}, {written_by}");
    findings.push(if probe.may_write {
        Finding::ok(&*check, what)
    } else {
        Finding::fail(
            &*check,
            format!("{what}; this user may not write there"),
            "be the user that owns it, name another one, or mount with --read-only",
        )
    });
    if probe.logs > 0 {
        findings.extend(unopened::findings(&path, probe.writer.is_some()));
    }
    let room = format!("{} free", bytesize::ByteSize(probe.free_bytes));
    let check = format!("room in '{}'", dir.display());
    findings.push(match probe.free_bytes {
        0 => Finding::fail(check, "none: every write fails", "make room"),
        free if free < LITTLE_ROOM_BYTES => {
            Finding::warn(check, room, "make room before there is none")
        }
        _ => Finding::ok(check, room),
    });
    findings
}

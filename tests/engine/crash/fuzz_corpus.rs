//! The fuzz targets of the engine, with their corpus and seeded mutations of it.

use support::fuzz::targets::{a_log, format, index, names, recovery};
use support::fuzz::{drive, pairs};

#[test]
fn slots_and_entries_come_back_the_same_whatever_the_bytes() {
    let (_, index) = a_log(true);
    drive("format", format, vec![index.clone(), index[64..].to_vec()]);
}

/// "Each entry checkable by itself": no index makes the engine serve a wrong byte.
#[test]
fn any_index_beside_a_log_serves_its_records_right_or_not_at_all() {
    drive("index", index, vec![a_log(false).1, a_log(true).1]);
}

/// "Nothing that a file or a name contains makes it panic, allocate without bound, or leave the logs dir."
#[test]
fn any_log_beside_any_index_is_opened_or_refused() {
    drive("recovery", recovery, pairs());
}

#[test]
fn any_name_is_one_component_or_refused() {
    drive("names", names, vec![b"orders".to_vec(), vec![b'a'; 200]]);
}

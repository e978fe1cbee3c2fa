//! `immuta repair`: what it cuts, and what it cannot mend.

use std::fs;

use immuta::{Format, Options, Storage};
use support::immuta_cli::{Dir, golden, prints, refuses, said};

#[test]
fn repair_says_what_it_cuts_and_loses_nothing() {
    let dir = Dir::new();
    let d = dir.str();
    dir.log("orders", Format::Count8, &["one", "two", "three"]);
    assert_eq!(
        prints(&["repair", d, "orders"]),
        "orders: 3 records, 43 bytes on disk, in order: nothing to repair\n"
    );
    let broken = dir.change("orders.log", |bytes| bytes.truncate(40));
    let why = refuses(&["cat", d, "orders"]);
    assert!(
        why.starts_with(
            "immuta: record 2 of 'orders' is damaged at byte 30 of the log: its size is negative or reaches beyond the end of the \
             file (no byte was changed; immuta repair '"
        ),
        "{why}"
    );
    let cut = dir.file("orders.cut-30");
    let plan = format!(
        "orders: would keep 2 records, bytes 0 to 30, format count8\n\
         orders: would cut 10 bytes, 30 to 40: a torn record; to be saved in '{}'\n\
         orders: would set the count, which was 3, to 2\n",
        cut.display()
    );
    let refused = why.strip_prefix("immuta: ").expect("a message");
    let plan = format!("{plan}orders: opening it is refused: {refused}");
    assert_eq!(prints(&["repair", d, "orders", "--dry-run"]), plan);
    assert_eq!(fs::read(dir.file("orders.log")).expect("read"), broken);
    assert!(!cut.exists());

    let held = Storage::open(Options::new(dir.path()).only(["other"])).expect("opened");
    let why = refuses(&["repair", d, "orders"]);
    assert!(why.contains("is in use by pid"), "{why}");
    drop(held);

    let done = format!(
        "orders: kept 2 records, bytes 0 to 30, format count8\n\
         orders: cut 10 bytes, 30 to 40: a torn record; saved in '{}'\n\
         orders: set the count, which was 3, to 2\n",
        cut.display()
    );
    assert_eq!(prints(&["repair", d, "orders"]), done);
    assert_eq!(fs::read(&cut).expect("saved"), broken[30..]);
    assert_eq!(prints(&["cat", d, "orders"]), "one\ntwo\n");
    assert_eq!(
        prints(&["repair", d, "orders"]),
        "orders: 2 records, 30 bytes on disk, in order: nothing to repair\n"
    );

    // The same place again, with other bytes: what was saved is not written over.
    prints(&["append", d, "orders", "another"]);
    dir.change("orders.log", |bytes| bytes.truncate(44));
    let why = refuses(&["repair", d, "orders"]);
    assert_eq!(
        why,
        format!(
            "immuta: cannot save what is cut to '{}': it holds other bytes already (move it away, and try again)\n",
            cut.display()
        )
    );
    fs::rename(&cut, dir.file("orders.cut-30.first")).expect("renamed");
    prints(&["repair", d, "orders"]);
    assert_eq!(
        refuses(&["repair", d, "none"]),
        format!("immuta: no namespace 'none' in '{d}' (there are: orders)\n")
    );
}

#[test]
fn repair_of_a_bare_log_takes_the_format_it_is_told() {
    let dir = Dir::new();
    let d = dir.str();
    fs::copy(golden(Format::Bare, "hello"), dir.file("a.log")).expect("copied");
    dir.change("a.log", |bytes| bytes.extend_from_slice(&[7, 0, 0, 0, 0]));
    let done = format!(
        "a: kept 1 records, bytes 0 to 19, format bare\n\
         a: cut 5 bytes, 19 to 24: a torn record; saved in '{}'\n\
         a: made the index again for 1 records from record 0 on; their times are not known\n",
        dir.file("a.cut-19").display()
    );
    let repair = ["repair", d, "a", "--assume-format", "bare"];
    assert_eq!(prints(&repair), done);
    assert_eq!(prints(&["cat", d, "a"]), "hello world\n");
}

#[test]
fn regression_repair_tells_damage_that_it_cannot_mend() {
    let dir = Dir::new();
    let d = dir.str();
    dir.log("orders", Format::Count8, &["one", "two", "three"]);
    let damaged = dir.change("orders.log", |bytes| bytes[8 + 11 + 8] ^= 1);
    let text = "orders: record 1 at byte 19: its bytes are not those that were written\n\
                orders: 3 records, 43 bytes on disk, 1 damaged record, which cannot be mended; all others are readable\n";
    for options in [&[][..], &["--dry-run"]] {
        assert_eq!(
            said(&[&["repair", d, "orders"], options].concat()),
            (Some(1), text.into(), String::new())
        );
    }
    dir.change("orders.log", |bytes| bytes[8 + 8] ^= 1);
    let (status, text, _) = said(&["repair", d, "orders"]);
    assert_eq!(status, Some(1));
    assert!(
        text.ends_with("2 damaged records, which cannot be mended; all others are readable\n"),
        "{text}"
    );
    fs::write(dir.file("orders.log"), damaged).expect("written");
    // What is damaged in the index can be made again.
    dir.change("orders.log", |bytes| bytes[8 + 11 + 8] ^= 1);
    dir.change("orders.idx", |bytes| {
        let entry = bytes.len() - 40;
        bytes[entry] ^= 1;
    });
    let (status, text, _) = said(&["repair", d, "orders"]);
    assert_eq!(status, Some(1), "{text}");
    assert!(
        text.contains("(delete that file with the log closed, and it is rebuilt, without times)")
            && text.ends_with(
                "of which those in the index are mended as is said above; all others are readable\n"
            ),
        "{text}"
    );
}

//! `immuta verify`: which damage it lists.

use std::fs;

use immuta::Format;
use support::immuta_cli::{Dir, golden, prints, refuses, said};

#[test]
fn verify_lists_each_damage_and_tells_by_its_exit_status() {
    let dir = Dir::new();
    let d = dir.str();
    dir.log("good", Format::Count8, &["one", "two"]);
    dir.log("worn", Format::Count16, &["one", "two", "three"]);
    fs::copy(golden(Format::Count16, "hello"), dir.file("theirs.log")).expect("copied");
    assert_eq!(
        prints(&["verify", d]),
        "good: 2 records, 6 bytes of payload, 30 on disk, no damage\n\
         theirs: 1 records, 11 bytes of payload, 35 on disk, no damage (1 compared with what was found when the index was made, not with what was written)\n\
         worn: 3 records, 11 bytes of payload, 51 on disk, no damage\n"
    );
    dir.change("worn.log", |bytes| bytes[16 + 11 + 8] ^= 1);
    let text = "good: 2 records, 6 bytes of payload, 30 on disk, no damage\n\
                worn: record 1 at byte 27: its bytes are not those that were written\n\
                worn: 3 records, 8 bytes of payload, 51 on disk, 1 damaged\n";
    assert_eq!(
        said(&["verify", d, "good", "worn"]),
        (Some(1), text.into(), String::new())
    );
    let json = "{\"namespace\":\"worn\",\"format\":\"count16\",\"records\":3,\"bytes\":8,\"disk_bytes\":51,\"checksummed\":3,\"rebuilt\":0,\
                \"damaged\":[{\"record\":1,\"offset\":27,\"what\":\"its bytes are not those that were written\"}],\"unlisted\":0}\n";
    assert_eq!(
        said(&["verify", d, "worn", "--json"]),
        (Some(1), json.into(), String::new())
    );
    assert_eq!(
        refuses(&["verify", d, "none"]),
        format!("immuta: no namespace 'none' in '{d}' (there are: good, theirs, worn)\n")
    );
}

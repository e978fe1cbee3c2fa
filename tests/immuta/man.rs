//! `immuta man`: made of the command lines that the programs read.

use std::fs;

use support::immuta_cli::{Dir, prints};

pub(crate) const COMMANDS: [&str; 12] = [
    "stat",
    "cat",
    "tail",
    "append",
    "import",
    "export",
    "verify",
    "repair",
    "doctor",
    "top",
    "completions",
    "man",
];

#[test]
fn each_command_has_a_manual_page_with_its_options_and_examples() {
    let dir = Dir::new();
    let pages = dir.file("share/man1");
    assert_eq!(prints(&["man", pages.to_str().unwrap()]), "");
    let mut names: Vec<_> = fs::read_dir(&pages)
        .unwrap()
        .map(|page| page.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let mut expected: Vec<_> = COMMANDS
        .map(|command| format!("immuta-{command}.1"))
        .to_vec();
    expected.extend(["immuta.1".to_owned(), "immuta-fs.1".to_owned()]);
    expected.sort();
    assert_eq!(names, expected);
    let page = |name: &str| fs::read_to_string(pages.join(name)).unwrap();
    for name in &names {
        let page = page(name);
        let title = name.trim_end_matches(".1");
        assert!(
            page.contains(&format!(".TH {} 1 ", title.to_uppercase())),
            "{page}"
        );
        for section in ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "\"SEE ALSO\""] {
            assert_eq!(
                page.matches(&format!("\n.SH {section}\n")).count(),
                1,
                "{section} of {name}:\n{page}"
            );
        }
        assert!(page.contains("\n.SH EXAMPLE"), "{page}");
    }
    assert!(page("immuta-tail.1").contains(r"\fB\-f\fR, \fB\-\-follow\fR"));
    assert!(page("immuta-fs.1").contains(r"\-\-read\-only"));
    assert!(page("immuta-fs.1").contains("\n.SH ARGUMENTS\n"));
    assert_eq!(prints(&["man"]), page("immuta.1"));
}

//! Command lines, and what is said of one that is not understood.

use support::immuta_cli::{misused, prints, said};

use crate::man::COMMANDS;

#[test]
fn a_command_line_that_is_not_understood_is_status_2_and_one_line() {
    for (arguments, what) in [
        (&[][..], "no command is given (immuta --help lists them)"),
        (
            &["tial"],
            "unrecognized subcommand 'tial' (do you mean 'tail'?)",
        ),
        (
            &["frobnicate"],
            "unrecognized subcommand 'frobnicate' (immuta --help tells how)",
        ),
        (
            &["tail"],
            "no log is named (give NAMESPACE, or DIR NAMESPACE)",
        ),
        (
            &["append", "dir"],
            "<NAMESPACE> is not given (immuta append --help tells how)",
        ),
        (
            &["tail", "dir", "a", "--folow"],
            "unexpected argument '--folow' found (immuta tail --help tells how)",
        ),
        (
            &["export", "dir", "a", "--from", "x"],
            "invalid value 'x' for '--from <N>': invalid digit found in string (immuta export --help tells how)",
        ),
        (
            &["top", "mnt", "--interval", "0"],
            "invalid value '0' for '--interval <TIME>': shorter than 100ms (immuta top --help tells how)",
        ),
    ] {
        assert_eq!(
            misused(arguments),
            format!("immuta: {what}\n"),
            "{arguments:?}"
        );
    }
}

#[test]
fn each_command_has_help_with_an_example() {
    let help = prints(&["--help"]);
    let listed = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next());
    assert_eq!(listed.collect::<Vec<_>>()[..COMMANDS.len()], COMMANDS);
    for command in COMMANDS {
        for option in ["--help", "-h"] {
            let (status, help, _) = said(&[command, option]);
            assert_eq!(status, Some(0));
            assert!(help.contains("\nExample"), "{help}");
            assert!(
                help.contains(&format!("  immuta {command} "))
                    || help.contains(&format!("$ immuta {command} "))
                    || help.contains(&format!("(immuta {command} ")),
                "{help}"
            );
        }
    }
}

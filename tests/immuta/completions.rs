//! `immuta completions` and `immuta man`: made of the command lines that the programs read.

use std::fs;
use std::process::Command;

use support::immuta_cli::{Dir, misused, prints, said};

const COMMANDS: [&str; 12] = [
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

/// What bash offers for the last of `words`.
fn offered(script: &str, function: &str, words: &[&str]) -> Vec<String> {
    let complete = format!(
        "{script}\nCOMP_WORDS=(\"$@\") COMP_CWORD=$(($# - 1))\n{function} \"$1\" \"${{@: -1}}\" \"${{@: -2:1}}\"\n\
         printf '%s\\n' \"${{COMPREPLY[@]}}\"\ncomplete -p \"$1\""
    );
    let output = Command::new("bash")
        .args(["--noprofile", "--norc", "-c", &complete, "bash"])
        .args(words)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let out = String::from_utf8(output.stdout).unwrap();
    out.lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_commands_options_and_their_values() {
    let script = prints(&["completions", "bash"]);
    let immuta = |words: &[&str]| offered(&script, "_immuta", &[&["immuta"], words].concat());
    let commands = immuta(&[""]);
    let plain: Vec<_> = commands
        .iter()
        .filter(|c| !c.contains(['-', ' ']))
        .collect();
    assert_eq!(plain[..COMMANDS.len()], COMMANDS);
    assert_eq!(plain[COMMANDS.len()..], ["help"]);
    assert_eq!(immuta(&["ta"])[0], "tail");
    assert_eq!(immuta(&["tail", "--fo"])[..2], ["--follow", "--format"]);
    assert_eq!(immuta(&["export", "--format", "j"])[0], "jsonl");
    assert!(immuta(&["ta"])[1].ends_with(" -F _immuta immuta"));

    let script = prints(&["completions", "bash", "immuta-fs"]);
    let fs = offered(&script, "_immuta__fs", &["immuta-fs", "--syn"]);
    assert_eq!(fs[0], "--sync");
    let all = offered(&script, "_immuta__fs", &["immuta-fs", "--"]);
    let help = Command::new(env!("CARGO_BIN_EXE_immuta-fs"))
        .arg("--help")
        .output()
        .unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let hidden = |option: &&String| option.starts_with("--") && !help.contains(option.as_str());
    assert_eq!(all.iter().find(hidden), None);
}

#[test]
fn other_shells_have_theirs() {
    for program in ["immuta", "immuta-fs"] {
        let zsh = prints(&["completions", "zsh", program]);
        assert!(zsh.starts_with(&format!("#compdef {program}\n")), "{zsh}");
        let fish = prints(&["completions", "fish", program]);
        assert!(fish.contains(&format!("complete -c {program} ")), "{fish}");
    }
    assert_eq!(
        misused(&["completions", "dos"]),
        "immuta: invalid value 'dos' for '<SHELL>': none of bash, elvish, fish, powershell, zsh \
         (immuta completions --help tells how)\n"
    );
}

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

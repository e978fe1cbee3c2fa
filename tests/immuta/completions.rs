//! `immuta completions`: made of the command lines that the programs read.

use std::process::Command;

use support::immuta_cli::{misused, prints};

use crate::man::COMMANDS;

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

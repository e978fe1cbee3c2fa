//! `immuta man`: generated from the definitions that parse the command lines.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::{Args, Command, CommandFactory, ValueHint};
use clap_mangen::roff::{Roff, roman};
use immuta_fs::cli;

use crate::Failure;

/// Write the manual pages of both programs; without a directory, print immuta(1)
#[derive(Args)]
#[command(after_help = "Examples:\n  \
        immuta man | man -l -\n  \
        immuta man /usr/local/share/man/man1")]
pub(crate) struct Man {
    /// The directory to write them to; made if missing
    #[arg(value_hint = ValueHint::DirPath)]
    dir: Option<PathBuf>,
}

impl Man {
    /// `immuta` is this program's definition.
    pub(crate) fn run(&self, immuta: Command) -> Result<(), Failure> {
        let mut programs = [
            immuta.disable_help_subcommand(true),
            cli::Cli::command().disable_help_subcommand(true),
        ];
        programs.iter_mut().for_each(Command::build);
        let Some(dir) = &self.dir else {
            let mut text = Vec::new();
            page(&programs[0], &mut text)?;
            return Ok(io::stdout().write_all(&text)?);
        };
        let write = || {
            fs::create_dir_all(dir)?;
            for program in &programs {
                let commands = program.get_subcommands().filter(|c| !c.is_hide_set());
                for command in commands.chain([program]) {
                    let mut text = Vec::new();
                    page(command, &mut text)?;
                    fs::write(dir.join(format!("{}.1", title(command))), text)?;
                }
            }
            Ok(())
        };
        write().map_err(|e: io::Error| {
            Failure::Other(format!(
                "cannot write to '{}': {e} (give a directory that you may write to)",
                dir.display()
            ))
        })
    }
}

/// The name of a page, such as `immuta-tail`.
fn title(command: &Command) -> &str {
    let name = command.get_display_name();
    name.unwrap_or_else(|| command.get_name())
}

/// Whether a line is a heading, such as `Examples` or `Exit status`. Anything longer is a sentence.
fn is_title(text: &str) -> bool {
    text.split(' ').count() <= 2
}

/// Writes the manual page of one command. Its help has headings behind the options, such as `Examples:`; each becomes a
/// section, with its lines as they are.
fn page(command: &Command, out: &mut dyn Write) -> io::Result<()> {
    let man = clap_mangen::Man::new(command.clone());
    // Written by hand: clap_mangen would leave an empty date out, and the next words would move up.
    let (title, version) = (title(command), env!("CARGO_PKG_VERSION"));
    writeln!(
        out,
        ".TH {} 1 \"\" \"immuta {version}\" \"Append-only logs\"",
        title.to_uppercase()
    )?;
    man.render_name_section(out)?;
    man.render_synopsis_section(out)?;
    man.render_description_section(out)?;
    if command.get_arguments().any(|a| !a.is_hide_set()) {
        man.render_options_section(out)?;
    }
    if command.get_subcommands().any(|c| !c.is_hide_set()) {
        man.render_subcommands_section(out)?;
    }
    let mut roff = Roff::new();
    let more = command
        .get_after_help()
        .map(ToString::to_string)
        .unwrap_or_default();
    let mut verbatim = false;
    for line in more.lines() {
        match line.strip_suffix(':') {
            Some(heading) if !line.starts_with(' ') && is_title(heading) => {
                if verbatim {
                    roff.control("fi", []);
                }
                verbatim = true;
                roff.control("SH", [heading.to_uppercase().as_str()]);
                roff.control("nf", []);
            }
            _ if line.is_empty() => {}
            _ if !line.starts_with(' ') => {
                roff.control("sp", []);
                roff.text([roman(line)]);
            }
            _ => {
                roff.text([roman(line.strip_prefix("  ").unwrap_or(line))]);
            }
        }
    }
    if verbatim {
        roff.control("fi", []);
    }
    let others = ["immuta", "immuta-fs"];
    let others: Vec<String> = others
        .into_iter()
        .filter(|other| *other != title)
        .map(|other| format!("{other}(1)"))
        .collect();
    roff.control("SH", ["SEE ALSO"]);
    roff.text([roman(others.join(", "))]);
    roff.to_writer(out)
}

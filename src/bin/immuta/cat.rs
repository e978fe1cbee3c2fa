//! `immuta cat`.

use std::io;

use clap::Args;

use crate::Failure;
use crate::open::{Assume, Place, Which};
use crate::render::{Form, Printer};

/// Print a log as text: each record, and a newline unless the record ends in one
///
/// Works beside a running immuta-fs. `immuta tail` prints the last records, `immuta export` writes other forms.
#[derive(Args)]
#[command(
    override_usage = "immuta cat [OPTIONS] [DIR] NAMESPACE",
    after_help = "Example:\n  \
        immuta cat /var/lib/immuta orders | grep paid"
)]
pub(crate) struct Cat {
    #[command(flatten)]
    which: Which,
    /// Start at this record; the first one is 0
    #[arg(long, value_name = "N", default_value_t = 0)]
    from: u64,
    #[command(flatten)]
    assume: Assume,
}

impl Cat {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        let Place { dir, namespace } = self.which.place()?;
        let log = self.assume.read(&dir, &namespace)?;
        let count = log.state().count;
        if self.from > count {
            return Err(Failure::Other(format!(
                "'{namespace}' has no record {}: it has {count}, and the first one is 0",
                self.from
            )));
        }
        let mut printer = Printer::new(&log, Form::Lines, io::stdout().lock());
        let mut next = self.from;
        printer.print(&mut next, count, |_| ())?;
        Ok(printer.flush()?)
    }
}

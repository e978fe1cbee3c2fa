//! Why a command failed, in one line.

use std::fmt;
use std::io;

use immuta::Error;

/// Why a command failed.
#[derive(Debug)]
pub(crate) enum Failure {
    Engine(Error),
    Output(io::Error),
    /// A message of its own.
    Other(String),
    /// A message of its own: the command line is wrong.
    Usage(String),
    /// It has been reported already.
    Reported,
}

impl From<Error> for Failure {
    fn from(e: Error) -> Self {
        Failure::Engine(e)
    }
}

impl From<io::Error> for Failure {
    fn from(e: io::Error) -> Self {
        Failure::Output(e)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Engine(e) => e.fmt(f),
            Failure::Output(e) => write!(f, "cannot write to standard output: {e}"),
            Failure::Other(what) | Failure::Usage(what) => f.write_str(what),
            Failure::Reported => Ok(()),
        }
    }
}

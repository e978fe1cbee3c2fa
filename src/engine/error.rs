//! What can go wrong, in the words of the person who has to do something about it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::format::Format;
use crate::ids::RecordNo;
use crate::namespace::Namespace;

/// The result of everything the engine does.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why the engine refused or failed.
///
/// Deliberately exhaustive: whoever maps these to something else (errno values, HTTP status) should be made
/// to think when there is a new one.
#[derive(Debug)]
pub enum Error {
    /// The name cannot be a namespace's.
    InvalidNamespace {
        /// The name as it was given.
        name: String,
    },
    /// There is no such namespace.
    NotFound {
        /// The name that was asked for.
        namespace: String,
    },
    /// A namespace of that name is there already.
    Exists {
        /// The name that is taken.
        namespace: String,
    },
    /// Only a namespace without records can be removed.
    NotEmpty {
        /// The namespace that was to be removed.
        namespace: String,
        /// How many records it holds.
        records: u64,
    },
    /// Another process (or another `Storage` in this one) writes to the directory.
    Locked {
        /// The logs directory.
        dir: PathBuf,
        /// The process that holds the lock.
        holder: Holder,
    },
    /// The log was not closed in order, and is still being checked; or its check was stopped.
    BeingChecked {
        /// The namespace.
        namespace: String,
        /// How many bytes have been read for it.
        read: u64,
        /// How many bytes its file has.
        of: u64,
    },
    /// The namespace is there, and its log could not be opened.
    Unopened {
        /// The namespace.
        namespace: String,
        /// Why not.
        why: Arc<Error>,
    },
    /// The storage was closed, or the namespace removed.
    Closed,
    /// The storage was opened with [`Options::read_only`](crate::Options::read_only).
    ReadOnly,
    /// The log refuses appends since an earlier write or sync failed; committed records stay readable.
    Failed {
        /// The namespace.
        namespace: String,
        /// What failed.
        reason: String,
    },
    /// The record is larger than [`Options::max_record_bytes`](crate::Options::max_record_bytes), or than a
    /// log can hold.
    TooLarge {
        /// The size of the payload, or the first size known to be too large.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// The disk or the quota is full, or the file would be larger than this process may write (`EFBIG`). Nothing of
    /// the append was stored; appends work again when there is room.
    NoSpace {
        /// The namespace.
        namespace: String,
        /// What the system said.
        source: io::Error,
    },
    /// There is no such record (yet).
    NoSuchRecord {
        /// The record that was asked for.
        record: RecordNo,
        /// How many records there are.
        count: u64,
    },
    /// Bytes of the log or of its index are not what was written.
    Damaged {
        /// The namespace.
        namespace: String,
        /// The record, when the damage can be told to be in one.
        record: Option<RecordNo>,
        /// Where, in bytes from the start of the log file.
        offset: u64,
        /// What is wrong there.
        what: String,
        /// How it can be mended, if it can.
        way_out: Option<WayOut>,
    },
    /// The log has no index of ours, and its bytes alone do not say which format it is in: they fit none, or too little
    /// tells the formats apart that they fit. No byte of it was changed.
    /// [`Options::assume_format`](crate::Options::assume_format) decides.
    UnclearFormat {
        /// The namespace.
        namespace: String,
        /// The formats that it could be in, and how many records it would have. None: it is whole in none of
        /// them.
        could_be: Vec<(Format, u64)>,
    },
    /// The caller's own reader failed; nothing was stored.
    Input {
        /// What the reader said.
        source: io::Error,
    },
    /// A call to the system failed.
    Io {
        /// What was being done: `open`, `read`, `sync`.
        action: &'static str,
        /// The file or directory it was done to.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// The process that holds the lock of a directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holder {
    /// Its process id; `None` if that is not known.
    pub pid: Option<u32>,
    /// The name of its program; `None` if that is not known.
    pub program: Option<String>,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.pid, &self.program) {
            (Some(pid), Some(program)) => write!(f, "pid {pid} ({})", program.escape_debug()),
            (Some(pid), None) => write!(f, "pid {pid}"),
            (None, _) => f.write_str("another process"),
        }
    }
}

/// How damage can be mended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WayOut {
    /// The log was not opened, and no byte of it was changed. What makes it open: a command, mostly.
    Refused(String),
    /// The index is damaged, and the record may be whole. If the index is deleted while the log is closed, it is made
    /// again, without times.
    DeleteIndex,
}

impl fmt::Display for WayOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WayOut::Refused(todo) => write!(f, "no byte was changed; {todo}"),
            WayOut::DeleteIndex => f.write_str(
                "delete that file with the log closed, and it is rebuilt, without times",
            ),
        }
    }
}

impl Error {
    /// Of a log that was not opened, and of which no byte was changed: why, and what makes it open. The message is both.
    /// `None` for any other error.
    pub fn refusal(&self) -> Option<(String, String)> {
        match self {
            Error::Damaged {
                namespace,
                record,
                offset,
                what,
                way_out: Some(WayOut::Refused(todo)),
            } => Some((damage(namespace, *record, *offset, what), todo.clone())),
            Error::UnclearFormat {
                namespace,
                could_be,
            } => Some(unclear_format(namespace, could_be)),
            _ => None,
        }
    }

    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Error::Io {
            action,
            path: path.to_owned(),
            source,
        }
    }
}

impl fmt::Display for Error {
    /// Long because each kind of error has its sentence here.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::InvalidNamespace { name } => write!(
                f,
                "namespace '{}' is not a name: use 1 to 200 of A-Z a-z 0-9 . _ -, not starting with a dot",
                name.escape_debug()
            ),
            Error::NotFound { namespace } => {
                write!(
                    f,
                    "no namespace '{}': create it first",
                    namespace.escape_debug()
                )
            }
            Error::Exists { namespace } => write!(f, "namespace '{namespace}' is there already"),
            Error::NotEmpty { namespace, records } => write!(
                f,
                "cannot remove namespace '{namespace}': it holds {records} records (only an empty one can be removed)"
            ),
            Error::Locked { dir, holder } => write!(
                f,
                "'{}' is in use by {holder}: a directory has one writer (append through its mount, or open it read-only)",
                dir.display()
            ),
            Error::BeingChecked {
                namespace,
                read,
                of,
            } => write!(
                f,
                "namespace '{namespace}' is being checked, {read} bytes of {of} (it was not closed in order; try again later)"
            ),
            Error::Unopened { namespace, why } => {
                write!(f, "namespace '{namespace}' could not be opened: {why}")
            }
            Error::Closed => write!(f, "the log is closed"),
            Error::ReadOnly => write!(f, "cannot write: opened read-only"),
            Error::Failed { namespace, reason } => {
                write!(
                    f,
                    "namespace '{namespace}' takes no appends: {reason} (reopen it to have it checked and mended)"
                )
            }
            Error::TooLarge { size, limit } => {
                write!(
                    f,
                    "a record of {size} bytes is too large: the limit is {limit} (raise the maximum record size)"
                )
            }
            Error::NoSpace { namespace, source } => {
                let way_out = match source.kind() {
                    io::ErrorKind::FileTooLarge => {
                        "raise the limit of the size of files: LimitFSIZE= of the service, or ulimit -f"
                    }
                    _ => "make room and try again",
                };
                write!(
                    f,
                    "cannot append to '{namespace}': {} (nothing was stored; {way_out})",
                    system_words(source)
                )
            }
            Error::NoSuchRecord { record, count } => {
                write!(f, "no record {record}: there are {count}")
            }
            Error::Damaged {
                namespace,
                record,
                offset,
                what,
                way_out,
            } => {
                f.write_str(&damage(namespace, *record, *offset, what))?;
                match way_out {
                    Some(way_out) => write!(f, " ({way_out})"),
                    None => Ok(()),
                }
            }
            Error::UnclearFormat {
                namespace,
                could_be,
            } => {
                let (why, todo) = unclear_format(namespace, could_be);
                write!(f, "{why} ({})", WayOut::Refused(todo))
            }
            Error::Input { source } => write!(
                f,
                "cannot read the record to append: {} (nothing was stored)",
                system_words(source)
            ),
            Error::Io {
                action,
                path,
                source,
            } => write!(
                f,
                "cannot {action} '{}': {}",
                path.display(),
                system_words(source)
            ),
        }
    }
}

/// Says where a log is damaged, and how.
fn damage(namespace: &str, record: Option<RecordNo>, offset: u64, what: &str) -> String {
    let at = format!("is damaged at byte {offset} of the log: {what}");
    match record {
        Some(record) => format!("record {record} of '{namespace}' {at}"),
        None => format!("'{namespace}' {at}"),
    }
}

/// Says that the format of a log cannot be told, and what to do.
fn unclear_format(namespace: &str, could_be: &[(Format, u64)]) -> (String, String) {
    let mut why = format!("cannot tell the format of '{namespace}': ");
    let Some((first, _)) = could_be.first() else {
        why += "it is whole in none of bare, count8, count16";
        return (why, "name the format with --assume-format".to_owned());
    };
    for (at, (format, records)) in could_be.iter().enumerate() {
        why += if at == 0 { "it could be " } else { " or " };
        let s = if *records == 1 { "" } else { "s" };
        why += &format!("{format} with {records} record{s}");
    }
    why += if could_be.len() == 1 {
        ", and its bytes do not prove it"
    } else {
        ", and its bytes do not tell which"
    };
    let todo = format!(
        "'immuta cat LOGS_DIR {namespace} --assume-format {first}' shows it as {first}; name the right format with \
         --assume-format"
    );
    (why, todo)
}

/// What the system says, in its own words: without the number that Rust adds, `(os error 2)`.
pub fn system_words(error: &io::Error) -> String {
    let text = error.to_string();
    let number = error
        .raw_os_error()
        .map(|errno| format!(" (os error {errno})"));
    match number.and_then(|number| text.strip_suffix(&number)) {
        Some(words) => words.to_owned(),
        None => text,
    }
}

/// The command that mends a log which is refused as damaged, wherever it is called.
pub fn repair_command(logs_dir: &Path, namespace: &Namespace) -> String {
    let logs_dir = std::path::absolute(logs_dir).unwrap_or_else(|_| logs_dir.to_owned());
    format!("immuta repair '{}' {namespace}", logs_dir.display())
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::NoSpace { source, .. } | Error::Input { source } | Error::Io { source, .. } => {
                Some(source)
            }
            Error::Unopened { why, .. } => Some(why),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_quote_the_thing_and_tell_the_way_out() {
        let bad = Error::InvalidNamespace { name: "x/y".into() };
        assert_eq!(
            bad.to_string(),
            "namespace 'x/y' is not a name: use 1 to 200 of A-Z a-z 0-9 . _ -, not starting with a dot"
        );
        let locked = Error::Locked {
            dir: "/logs".into(),
            holder: Holder {
                pid: Some(7),
                program: Some("immuta-fs".into()),
            },
        };
        assert_eq!(
            locked.to_string(),
            "'/logs' is in use by pid 7 (immuta-fs): a directory has one writer \
             (append through its mount, or open it read-only)"
        );
        let gone = Error::NoSuchRecord {
            record: RecordNo(7),
            count: 7,
        };
        assert_eq!(gone.to_string(), "no record 7: there are 7");
    }

    #[test]
    fn the_system_speaks_without_the_numbers_of_its_errors() {
        let source = || io::Error::from_raw_os_error(2);
        let io = Error::io("open", Path::new("/x.log"), source());
        assert_eq!(
            io.to_string(),
            "cannot open '/x.log': No such file or directory"
        );
        assert_eq!(
            Error::Input { source: source() }.to_string(),
            "cannot read the record to append: No such file or directory (nothing was stored)"
        );
        assert_eq!(
            system_words(&io::Error::other("a (os error 2)")),
            "a (os error 2)"
        );
    }

    #[test]
    fn the_systems_own_error_is_the_source() {
        use std::error::Error as _;
        let full = Error::NoSpace {
            namespace: "a".into(),
            source: io::Error::from_raw_os_error(28),
        };
        let source = full.source().and_then(|s| s.downcast_ref::<io::Error>());
        assert_eq!(source.and_then(io::Error::raw_os_error), Some(28));
    }
}

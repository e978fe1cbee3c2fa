//! Reports to the service manager, for units of `Type=notify`: the protocol of sd_notify(3).

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// The socket of the service manager; none if no service manager has started this program.
#[derive(Debug)]
pub(crate) struct ServiceManager(Option<UnixDatagram>);

impl ServiceManager {
    /// Reports to nobody.
    pub(crate) fn none() -> Self {
        ServiceManager(None)
    }

    /// The service manager that has set NOTIFY_SOCKET, if there is one.
    pub(crate) fn of_environment() -> Self {
        let socket = std::env::var_os("NOTIFY_SOCKET").and_then(|socket| match connect(&socket) {
            Ok(socket) => Some(socket),
            Err(e) => {
                log::warn!(
                    "the service manager is told nothing: NOTIFY_SOCKET '{}': {e}",
                    socket.display()
                );
                None
            }
        });
        ServiceManager(socket)
    }

    /// Whether there is a service manager.
    pub(crate) fn is_there(&self) -> bool {
        self.0.is_some()
    }

    /// The mount answers.
    pub(crate) fn ready(&self, status: &str) {
        self.tell(&format!("READY=1\n{}", status_line(status)));
    }

    /// The mount is ending.
    pub(crate) fn stopping(&self) {
        self.tell(&format!(
            "STOPPING=1\n{}",
            status_line("Ending the reads that wait, syncing the logs")
        ));
    }

    /// What the daemon is doing, for `systemctl status`.
    pub(crate) fn status(&self, status: &str) {
        self.tell(&status_line(status));
    }

    /// The daemon is still starting: what it is doing, and how much longer that may take.
    pub(crate) fn still_starting(&self, status: &str, longer: Duration) {
        let microseconds = longer.as_micros();
        self.tell(&format!(
            "EXTEND_TIMEOUT_USEC={microseconds}\n{}",
            status_line(status)
        ));
    }

    fn tell(&self, message: &str) {
        if let Some(socket) = &self.0
            && let Err(e) = socket.send(message.as_bytes())
        {
            log::warn!("the service manager was not told {message:?}: {e}");
        }
    }
}

/// The status as one line: a line break would begin the next variable.
fn status_line(status: &str) -> String {
    format!("STATUS={}\n", status.replace(char::is_control, " "))
}

/// Connects to a socket by its path, or by its abstract name behind an '@'.
fn connect(name: &OsStr) -> io::Result<UnixDatagram> {
    let address = match name.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    Ok(socket)
}

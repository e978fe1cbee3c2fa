#!/bin/sh
# Mounts a directory of append-only logs: mount-scripts/mount.sh [[LOGS_DIR] MOUNTPOINT] [-- IMMUTA_FS_OPTIONS]
#
# Needs: Linux with /dev/fuse, a Rust toolchain (1.91 or newer), and a package manager (apt, dnf, pacman, apk or zypper).
# Does:  installs a C linker and fusermount3 if they are missing (through sudo if not root), builds immuta-fs,
#        makes MOUNTPOINT, starts the daemon in the background, returns when the mount answers. Run again, it
#        reports the mount that is there, and fails if that mount was made without the options that are given.
# LOGS_DIR:   where the logs are on disk (default: /var/lib/immuta for root, else ~/.local/share/immuta)
# MOUNTPOINT: where they are seen as files (default: /mnt/log for root, else ~/immuta-log)
# IMMUTA_FS_OPTIONS: handed to the daemon as they are, for example: -- --allow-other --sync always
# Undo:  mount-scripts/unmount.sh [MOUNTPOINT]
set -eu
# shellcheck source=mount-scripts/lib.sh
. "$(dirname "$0")/lib.sh"

# Opening the index of a very large log may take a while; a daemon that fails ends this wait at once.
mount_deadline_seconds=60

# place DIRECTORY: its absolute path; the directories above it exist afterwards.
place() {
    if ! { mkdir -p -- "$(dirname -- "$1")" && absolute "$1"; }; then
        die "cannot use '$1': the directory above it cannot be made (usage: mount.sh [[LOGS_DIR] MOUNTPOINT])"
    fi
}

show_how_to() {
    tree=$(quoted "$mountpoint")
    cat <<HOW_TO

  append   echo 'hello' >> $tree/default/log
  follow   tail -f $tree/default/follow
  read     cat $tree/default/0
  new log  mkdir $tree/orders
  unmount  $(quoted "$repository/mount-scripts/unmount.sh") $tree
HOW_TO
}

check_device() {
    if [ ! -e /dev/fuse ] && is_root; then
        modprobe fuse 2>/dev/null || true
    fi
    if [ ! -e /dev/fuse ]; then
        die "cannot mount: there is no /dev/fuse (as root: modprobe fuse; in a container: run it with --device /dev/fuse --cap-add SYS_ADMIN)"
    fi
    # The permission bits are not enough: a container's device rules can refuse an open that the bits allow.
    if ! (: <>/dev/fuse) 2>/dev/null; then
        die "cannot mount: /dev/fuse does not open for $(id -un) (as root: chmod 666 /dev/fuse; in a container: run it with --device /dev/fuse --cap-add SYS_ADMIN)"
    fi
}

# check_options OPTIONS: fails unless the mount that is there was made with these options.
check_options() {
    [ $# -gt 0 ] || return 0
    if [ -z "$pid" ] || ! has_options "$pid" "$@"; then
        die "the options '$*' would be dropped: '$mountpoint' is mounted already, and its daemon was not started with them (unmount it first: $(quoted "$repository/mount-scripts/unmount.sh") $(quoted "$mountpoint"))"
    fi
}

# The daemon's messages since this start.
messages() { tail -c "+$log_start" "$log_file"; }

# While the daemon takes over a dead mount, the table of mounts and an answer prove nothing: the table still shows the dead
# mount, and once that is gone the bare directory answers. So the daemon's own message has to come first.
started() { messages | grep -q "^immuta-fs: mounted '" && mounted_and_answers "$mountpoint"; }

started_or_ended() { has_ended "$pid" || started; }

# Starts the daemon away from this terminal and waits for its mount.
start_daemon() {
    mkdir -p -- "$(state_dir)"
    log_file=$(state_file "$mountpoint" log)
    log_start=$(($(wc -c 2>/dev/null <"$log_file" || echo 0) + 1))
    # In / so that it keeps no directory busy; in a session of its own, because the hang-up of this terminal would end it.
    (cd / && exec setsid "$daemon" "$@" ${logs_dir:+"$logs_dir"} "$mountpoint") >>"$log_file" 2>&1 </dev/null &
    pid=$!
    printf '%s\n' "$pid" >"$(state_file "$mountpoint" pid)"

    reason=
    until_deadline "$mount_deadline_seconds" started_or_ended ||
        reason="no answer within $mount_deadline_seconds s, so immuta-fs was stopped (all its messages: '$log_file')"
    if has_ended "$pid"; then
        reason="immuta-fs ended, its reason is above (all its messages: '$log_file')"
    fi
    if [ -n "$reason" ]; then
        messages >&2
        kill "$pid" 2>/dev/null || true
        rm -f -- "$(state_file "$mountpoint" pid)"
        die "cannot mount on '$mountpoint': $reason"
    fi
}

logs_dir=
mountpoint=
while [ $# -gt 0 ]; do
    case $1 in
    -h | --help) help_if_asked "$1" ;;
    --)
        shift
        break
        ;;
    -*) die "unknown option '$1' (options of immuta-fs come last, after '--'; see --help)" ;;
    *)
        # In the order of immuta-fs: a single directory is the mount point; of two, the first holds the logs.
        if [ -z "$mountpoint" ]; then
            mountpoint=$1
        elif [ -z "$logs_dir" ]; then
            logs_dir=$mountpoint
            mountpoint=$1
        else
            die "one argument too many: '$1' (usage: mount.sh [[LOGS_DIR] MOUNTPOINT] [-- IMMUTA_FS_OPTIONS])"
        fi
        shift
        ;;
    esac
done
mountpoint=$(place "${mountpoint:-$(default_mountpoint)}")
if [ -n "$logs_dir" ]; then
    logs_dir=$(place "$logs_dir")
    [ "$logs_dir" != "$mountpoint" ] ||
        die "cannot mount '$mountpoint' over its own logs (give two directories: mount.sh LOGS_DIR MOUNTPOINT)"
fi

if mounted_and_answers "$mountpoint"; then
    is_ours "$mountpoint" ||
        die "cannot mount on '$mountpoint': something else is mounted there ($(mounted_as "$mountpoint")) (give another directory, or unmount it)"
    pid=$(daemon_of "$mountpoint") || pid=
    if [ -n "$logs_dir" ] && [ -n "$pid" ] && ! has_argument "$pid" "$logs_dir"; then
        die "cannot mount '$logs_dir' on '$mountpoint': other logs are mounted there (unmount them first: $(quoted "$repository/mount-scripts/unmount.sh") $(quoted "$mountpoint"))"
    fi
    check_options "$@"
    say "immuta-fs: already mounted on '$mountpoint'${pid:+ by process $pid}"
    show_how_to
    exit 0
fi

check_device
want_fusermount
if [ -z "${IMMUTA_FS:-}" ]; then
    find_cargo
    want_build_tools
fi
install_wanted
if [ -n "${IMMUTA_FS:-}" ]; then
    daemon=$(absolute "$IMMUTA_FS")
    [ -x "$daemon" ] || die "cannot run '$daemon': not an executable file (IMMUTA_FS names it; unset it to build one)"
else
    build_daemon --release
fi
# A dead mount is left to the daemon, which takes it over if it was a mount of immuta-fs.
if ! is_mounted "$mountpoint"; then
    mkdir -p -- "$mountpoint" ||
        die "cannot make the mount point '$mountpoint' (give another: mount.sh LOGS_DIR MOUNTPOINT)"
fi
start_daemon "$@"
[ -z "$logs_dir" ] || logs=", logs in '$logs_dir'"
say "immuta-fs: mounted on '$mountpoint'${logs:-}, process $pid, messages in '$log_file'"
show_how_to

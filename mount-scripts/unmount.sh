#!/bin/sh
# Unmounts what mount.sh mounted: mount-scripts/unmount.sh [MOUNTPOINT]
#
# Needs: nothing but the mount. MOUNTPOINT defaults as in mount.sh: /mnt/log for root, else ~/immuta-log.
# Does:  tells the daemon that serves MOUNTPOINT to stop (readers get their end of file, logs are synced, files that
#        are still open fail from then on) and waits for its end. If a daemon that died has left its mount, this
#        script unmounts it. If programs hold that mount, the script names them and leaves it mounted.
set -eu
# shellcheck source=mount-scripts/lib.sh
. "$(dirname "$0")/lib.sh"

# The daemon syncs its logs before it ends, and a slow disk makes that take long.
stop_deadline_seconds=60

help_if_asked "$@"
case ${1:-} in
-*) die "unknown option '$1' (usage: unmount.sh [MOUNTPOINT])" ;;
esac
[ $# -le 1 ] || die "one argument too many: '$2' (usage: unmount.sh [MOUNTPOINT])"
mountpoint=$(absolute "${1:-$(default_mountpoint)}") || die "cannot unmount '$1': there is no such directory"
# This script must not be what keeps the mount busy.
cd /

forget() { rm -f -- "$(state_file "$mountpoint" pid)"; }

die_mounted() {
    held_by=$(holders "$mountpoint")
    if [ -n "$held_by" ]; then
        printf '%s\n' "$held_by" >&2
        die "cannot unmount '$mountpoint': $1; the programs above hold it (end them, or leave its directories, and run this again)"
    fi
    die "cannot unmount '$mountpoint': $1 (run this as root, which also sees the programs of other users)"
}

if ! is_mounted "$mountpoint"; then
    forget
    say "immuta-fs: nothing is mounted on '$mountpoint'"
    exit 0
fi
is_ours "$mountpoint" ||
    die "will not unmount '$mountpoint': it is not a mount of immuta-fs ($(mounted_as "$mountpoint")) (use umount)"

if pid=$(daemon_of "$mountpoint"); then
    kill -TERM "$pid" 2>/dev/null || has_ended "$pid" ||
        die "cannot stop process $pid, which serves '$mountpoint': it belongs to another user (run this as that user, or with sudo)"
    until_deadline "$stop_deadline_seconds" has_ended "$pid" ||
        die_mounted "process $pid did not end within $stop_deadline_seconds s"
fi
# It is still mounted if its daemon had died, or could not unmount.
if is_mounted "$mountpoint"; then
    if is_root || ! command -v fusermount3 >/dev/null 2>&1; then
        reason=$(umount -- "$mountpoint" 2>&1) || die_mounted "${reason%.}"
    else
        reason=$(fusermount3 -u -- "$mountpoint" 2>&1) || die_mounted "${reason%.}"
    fi
fi
forget
say "immuta-fs: unmounted '$mountpoint'"

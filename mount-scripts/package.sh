#!/bin/sh
# Makes packages of static programs: mount-scripts/package.sh [DIRECTORY]
#
# Needs: what mount.sh needs, and rustup for the musl target; dpkg-deb for the Debian package, which is left out without
#        it. IMMUTA_PROGRAMS=DIR packs the programs immuta-fs and immuta that are there instead of building.
# Does:  builds both programs for musl, so that they run on any Linux, and writes into DIRECTORY (default: target/package)
#        immuta-fs-VERSION-ARCH.tar.gz   all that install.sh installs, to be unpacked in /
#        immuta-fs_VERSION_ARCH.deb      the same as a Debian package
set -eu
# shellcheck source=mount-scripts/lib.sh
. "$(dirname "$0")/lib.sh"

help_if_asked "$@"
machine=$(uname -m)

if [ -z "${IMMUTA_PROGRAMS:-}" ]; then
    find_cargo
    want_build_tools
    install_wanted
    target=$machine-unknown-linux-musl
    command -v rustup >/dev/null 2>&1 || die "cannot build static programs: no rustup here (https://rustup.rs)"
    (cd "$repository" && rustup target add "$target")
    build_daemon --release --bins --target "$target"
    IMMUTA_PROGRAMS=$(dirname "$daemon")
    export IMMUTA_PROGRAMS
fi

version=$(sed -n 's/^version = "\(.*\)"/\1/p' "$repository/Cargo.toml" | head -n 1)
directory=${1:-$repository/target/package}
mkdir -p "$directory"
directory=$(cd "$directory" && pwd -P)
work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
umask 022
chmod 755 "$work"
"$repository/mount-scripts/install.sh" "$work" >/dev/null
if command -v strip >/dev/null 2>&1; then
    strip "$work/usr/bin/immuta-fs" "$work/usr/bin/immuta"
fi

tarball=$directory/immuta-fs-$version-$machine.tar.gz
tar -C "$work" --owner=0 --group=0 -czf "$tarball" usr
say "$tarball"

if ! command -v dpkg-deb >/dev/null 2>&1; then
    say "${0##*/}: no Debian package: dpkg-deb is not here"
    exit 0
fi
mkdir "$work/DEBIAN"
cat >"$work/DEBIAN/control" <<CONTROL
Package: immuta-fs
Version: $version
Architecture: $(dpkg --print-architecture)
Maintainer: the authors of immuta-fs <immuta-fs@localhost>
Section: utils
Priority: optional
Depends: fuse3
Installed-Size: $(du -sk "$work/usr" | cut -f1)
Description: append-only logs as files
 immuta-fs mounts a directory of logs. Any program appends with a write and
 follows with a read: no client library, no port, no protocol. The program
 immuta looks into the same logs without a mount.
CONTROL
package=$directory/immuta-fs_${version}_$(dpkg --print-architecture).deb
dpkg-deb --root-owner-group --build "$work" "$package" >/dev/null
say "$package"

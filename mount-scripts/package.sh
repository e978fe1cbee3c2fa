#!/bin/sh
# Makes packages of static programs: mount-scripts/package.sh [DIRECTORY]
#
# Needs: what mount.sh needs, and rustup for the musl target; dpkg-deb for the Debian package, which is left out without
#        it. IMMUTA_PROGRAMS=DIR packs the programs immuta-fs and immuta that are there instead of building.
# Does:  builds both programs for musl, so that they run on any Linux, and writes into DIRECTORY (default: target/package)
#        immuta-fs-VERSION-ARCH.tar.gz   all that install.sh installs, to be unpacked in /
#        immuta-fs_VERSION_ARCH.deb      the same as a Debian package, of the maintainer $DEBFULLNAME <$DEBEMAIL>
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
maintainer="${DEBFULLNAME:-immuta-fs packagers} <${DEBEMAIL:-immuta-fs@packagers.invalid}>"

# dpkg has its own list of files. Debian's policy puts the licences elsewhere, and wants documents compressed.
documents=$work/usr/share/doc/immuta-fs
rm "$documents/installed" "$documents/LICENSE-MIT" "$documents/LICENSE-APACHE"
gzip -9n "$documents/CHANGELOG.md" "$work"/usr/share/man/man1/*
{
    printf 'immuta-fs (%s) unstable; urgency=medium\n\n' "$version"
    printf '  * What has changed is in CHANGELOG.md.gz, beside this file.\n\n'
    printf ' -- %s  %s\n' "$maintainer" "$(LC_ALL=C date -u -R -r "$repository/CHANGELOG.md")"
} | gzip -9n >"$documents/changelog.gz"
{
    printf 'immuta-fs is licensed under the MIT licence or the Apache License, Version 2.0, at your option. The latter is\n'
    printf 'in /usr/share/common-licenses/Apache-2.0; the former:\n\n'
    cat "$repository/LICENSE-MIT"
} >"$documents/copyright"
mkdir -p "$work/usr/share/man/man8" "$work/usr/share/lintian/overrides"
ln -s ../man1/immuta-fs.1.gz "$work/usr/share/man/man8/mount.fuse.immuta-fs.8.gz"
# Programs that are not static need the C library that they were built with, or a newer one.
libraries=
if ldd "$work/usr/bin/immuta-fs" 2>/dev/null | grep -q 'libc\.so'; then
    libraries="libc6 (>= $(dpkg-query -W -f '${Version}' libc6)), libgcc-s1, "
else
    printf '%s\n' '# One package for all releases of all distributions: static, and at a random address (static-pie).' \
        'immuta-fs: statically-linked-binary *' 'immuta-fs: shared-library-lacks-prerequisites *' \
        >"$work/usr/share/lintian/overrides/immuta-fs"
fi
find "$work" -type d -empty -delete
mkdir "$work/DEBIAN"
install -m 755 "$repository"/mount-scripts/debian/* "$work/DEBIAN"
cat >"$work/DEBIAN/control" <<CONTROL
Package: immuta-fs
Version: $version
Architecture: $(dpkg --print-architecture)
Maintainer: $maintainer
Section: utils
Priority: optional
Depends: ${libraries}fuse3
Installed-Size: $(du -sk "$work/usr" | cut -f1)
Description: append-only logs as files
 immuta-fs mounts a directory of logs. Any program appends with a write and
 follows with a read: no client library, no port, no protocol. The program
 immuta looks into the same logs without a mount.
CONTROL
package=$directory/immuta-fs_${version}_$(dpkg --print-architecture).deb
dpkg-deb --root-owner-group --build "$work" "$package" >/dev/null
say "$package"

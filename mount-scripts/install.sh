#!/bin/sh
# Installs both programs, with units, manual pages and completions: mount-scripts/install.sh [--uninstall] [DESTDIR]
#
# Needs: what mount.sh needs; root for a DESTDIR of / (the default). IMMUTA_PROGRAMS=DIR takes the programs immuta-fs
#        and immuta from there instead of building them.
# Does:  builds, and puts below DESTDIR/usr the programs, the helper with which mount(8) and /etc/fstab mount, the units
#        for systemd (none is enabled), manual pages, and completions for bash, zsh and fish. Prints each file that it writes.
# --uninstall: removes the files that this script or a tarball has installed there, and prints each. With a DESTDIR of / it
#        first ends the daemons that run the installed program, which unmounts. Logs and settings stay.
set -eu
# shellcheck source=mount-scripts/lib.sh
. "$(dirname "$0")/lib.sh"

help_if_asked "$@"
uninstall=
if [ "${1:-}" = --uninstall ]; then
    uninstall=yes
    shift
fi
case ${1:-} in
-*) die "unknown option '$1' (usage: install.sh [--uninstall] [DESTDIR])" ;;
esac
[ $# -le 1 ] || die "one argument too many: '$2' (usage: install.sh [--uninstall] [DESTDIR])"
destination=${1:-/}
destination=${destination%/}/usr
programs=${IMMUTA_PROGRAMS:-}
documents=share/doc/immuta-fs
# Lists the installed files, by their paths below the destination.
list=$documents/installed

if [ -n "$uninstall" ]; then
    [ -f "$destination/$list" ] ||
        die "cannot uninstall: install.sh has installed nothing below '$destination' (a Debian package: apt remove immuta-fs)"
    if [ "$destination" = /usr ]; then
        "$repository/mount-scripts/debian/prerm" remove
    fi
    while read -r file; do
        rm -f -- "$destination/$file"
        say "$destination/$file"
    done <"$destination/$list"
    rm -f -- "$destination/$list"
    # The directory stays if other files are in it.
    rmdir -- "$destination/$documents" 2>/dev/null || true
    exit 0
fi

if [ -z "$programs" ]; then
    find_cargo
    want_build_tools
    want_fusermount
    install_wanted
    build_daemon --release --bins
    programs=$(dirname "$daemon")
fi

work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT

# installed TARGET: lists and prints the file
installed() {
    printf '%s\n' "$1" >>"$work/list"
    say "$destination/$1"
}

# put MODE SOURCE TARGET: copies the file to TARGET below the destination
put() {
    mkdir -p "$destination/$(dirname "$3")"
    install -m "$1" "$2" "$destination/$3"
    installed "$3"
}

# generated TARGET COMMAND...: puts the output of the command there
generated() {
    target=$1
    shift
    "$@" >"$work/generated"
    put 644 "$work/generated" "$target"
}

put 755 "$programs/immuta-fs" bin/immuta-fs
put 755 "$programs/immuta" bin/immuta
mkdir -p "$destination/sbin"
ln -sfn ../bin/immuta-fs "$destination/sbin/mount.fuse.immuta-fs"
installed sbin/mount.fuse.immuta-fs

units=$repository/mount-scripts/systemd
put 644 "$units/immuta-fs.service" lib/systemd/system/immuta-fs.service
put 644 "$units/immuta-fs@.service" lib/systemd/system/immuta-fs@.service
put 644 "$units/user/immuta-fs.service" lib/systemd/user/immuta-fs.service
put 644 "$units/immuta-fs.default" "$documents/immuta-fs.default"
for document in README.md CHANGELOG.md docs/semantics.md docs/recipes.md docs/format.md LICENSE-MIT LICENSE-APACHE; do
    put 644 "$repository/$document" "$documents/$(basename "$document")"
done

mkdir "$work/man"
"$programs/immuta" man "$work/man"
for page in "$work"/man/*; do
    put 644 "$page" "share/man/man1/$(basename "$page")"
done
for program in immuta immuta-fs; do
    complete() { "$programs/immuta" completions "$1" "$program"; }
    generated "share/bash-completion/completions/$program" complete bash
    generated "share/zsh/site-functions/_$program" complete zsh
    generated "share/fish/vendor_completions.d/$program.fish" complete fish
done
put 644 "$work/list" "$list"

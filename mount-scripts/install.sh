#!/bin/sh
# Installs the two programs and what belongs to them: mount-scripts/install.sh [DESTDIR]
#
# Needs: what mount.sh needs; root for a DESTDIR of / (the default). IMMUTA_PROGRAMS=DIR takes the programs immuta-fs
#        and immuta from there instead of building them.
# Does:  builds, and puts below DESTDIR/usr the programs, the helper with which mount(8) and /etc/fstab mount, the units
#        for systemd (none is enabled), manual pages, and completions for bash, zsh and fish. Says what it has written.
set -eu
# shellcheck source=mount-scripts/lib.sh
. "$(dirname "$0")/lib.sh"

help_if_asked "$@"
destination=${1:-/}
destination=${destination%/}/usr
programs=${IMMUTA_PROGRAMS:-}

if [ -z "$programs" ]; then
    find_cargo
    want_build_tools
    want_fusermount
    install_wanted
    build_daemon --release --bins
    programs=$(dirname "$daemon")
fi

# put MODE SOURCE TARGET, below the destination
put() {
    mkdir -p "$destination/$(dirname "$3")"
    install -m "$1" "$2" "$destination/$3"
    say "$destination/$3"
}

# generated TARGET COMMAND...: what the command prints
generated() {
    target=$destination/$1
    shift
    mkdir -p "$(dirname "$target")"
    "$@" >"$target"
    chmod 644 "$target"
    say "$target"
}

put 755 "$programs/immuta-fs" bin/immuta-fs
put 755 "$programs/immuta" bin/immuta
mkdir -p "$destination/sbin"
ln -sfn ../bin/immuta-fs "$destination/sbin/mount.fuse.immuta-fs"
say "$destination/sbin/mount.fuse.immuta-fs"

units=$repository/mount-scripts/systemd
put 644 "$units/immuta-fs.service" lib/systemd/system/immuta-fs.service
put 644 "$units/immuta-fs@.service" lib/systemd/system/immuta-fs@.service
put 644 "$units/user/immuta-fs.service" lib/systemd/user/immuta-fs.service
put 644 "$units/immuta-fs.default" share/doc/immuta-fs/immuta-fs.default
for document in README.md CHANGELOG.md docs/semantics.md docs/recipes.md docs/format.md LICENSE-MIT LICENSE-APACHE; do
    put 644 "$repository/$document" "share/doc/immuta-fs/$(basename "$document")"
done

"$programs/immuta" man "$destination/share/man/man1"
for program in immuta immuta-fs; do
    complete() { "$programs/immuta" completions "$1" "$program"; }
    generated "share/bash-completion/completions/$program" complete bash
    generated "share/zsh/site-functions/_$program" complete zsh
    generated "share/fish/vendor_completions.d/$program.fish" complete fish
done

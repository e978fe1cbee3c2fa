# shellcheck shell=sh
# Functions that the scripts beside this file share. Sourced, never run; POSIX sh, so that Debian's dash and Alpine's ash
# read it too. A function with its body in ( ) keeps its variables to itself; one in { } is meant to set some.
#
# The scripts change the machine in one way only: `install_wanted` installs packages, after saying which and why.
# Environment: IMMUTA_FS=PROGRAM uses that immuta-fs instead of building one; IMMUTA_STATE_DIR=DIR holds the pid
# and log files of the daemons that mount.sh starts.

repository=$(cd "$(dirname "$0")/.." && pwd -P)

say() { printf '%s\n' "$*"; }

# The message says what failed, why, and in brackets the way out.
die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

# help_if_asked "$@": prints the head of the script, which is its manual, if the first argument asks for help.
help_if_asked() {
    case ${1:-} in
    -h | --help)
        sed -n '2,/^set -eu/{/^#/s/^# \{0,1\}//p;}' "$0"
        exit 0
        ;;
    esac
}

is_root() { [ "$(id -u)" -eq 0 ]; }

# until_deadline SECONDS COMMAND...: repeats the command until it succeeds; fails when it has not within that time.
until_deadline() (
    deadline=$(($(date +%s) + $1))
    shift
    until "$@"; do
        [ "$(date +%s)" -lt "$deadline" ] || return 1
        sleep 0.05
    done
)

# quoted WORD: prints the word quoted for a shell, for commands that the user copies.
quoted() (
    case $1 in
    *[!A-Za-z0-9/._+:@%,=-]*) printf "'%s'\n" "$(printf '%s' "$1" | sed "s/'/'\\\\''/g")" ;;
    *) printf '%s\n' "$1" ;;
    esac
)

# --- packages --------------------------------------------------------------------------------------------------

as_root() {
    if is_root; then
        "$@"
    elif command -v sudo >/dev/null 2>&1; then
        sudo "$@"
    elif command -v doas >/dev/null 2>&1; then
        doas "$@"
    else
        return 127
    fi
}

package_manager() (
    for manager in apt-get dnf pacman apk zypper; do
        if command -v "$manager" >/dev/null 2>&1; then
            say "$manager"
            return 0
        fi
    done
    return 1
)

# packages_of TOOL MANAGER: prints the names that the package manager has for the tool's packages.
packages_of() {
    case $1:$2 in
    cc:apt-get) say gcc libc6-dev ;;
    cc:apk) say gcc musl-dev ;;
    cc:*) say gcc ;;
    certificates:*) say ca-certificates ;;
    fusermount3:*) say fuse3 ;;
    setpriv:*) say util-linux ;;
    pkill:pacman | pkill:dnf) say procps-ng ;;
    pkill:*) say procps ;;
    python3:pacman) say python ;;
    rsyslogd:*) say rsyslog ;;
    node:*) say nodejs ;;
    pip3:pacman) say python-pip ;;
    pip3:apk) say py3-pip ;;
    pip3:*) say python3-pip ;;
    shellcheck:dnf | shellcheck:zypper) say ShellCheck ;;
    *) say "$1" ;;
    esac
}

# A compiler can be installed without the C library's start files, and then it links nothing: so try to link.
can_link() (
    command -v cc >/dev/null 2>&1 || return 1
    dir=$(mktemp -d)
    linked=0
    printf 'int main(void) { return 0; }\n' | cc -x c - -o "$dir/a" 2>/dev/null || linked=$?
    rm -rf "$dir"
    return "$linked"
)

has_certificates() {
    [ -n "${SSL_CERT_FILE:-}${CARGO_HTTP_CAINFO:-}" ] || [ -s /etc/ssl/certs/ca-certificates.crt ] ||
        [ -s /etc/pki/tls/certs/ca-bundle.crt ] || [ -s /etc/ssl/cert.pem ] || [ -s /etc/ssl/ca-bundle.pem ]
}

has_tool() {
    case $1 in
    cc) can_link ;;
    certificates) has_certificates ;;
    *) command -v "$1" >/dev/null 2>&1 ;;
    esac
}

wanted_tools=

# want TOOL REASON: puts the tool on the list that install_wanted installs, unless the machine has it.
want() {
    if ! has_tool "$1"; then
        say "${0##*/}: '$1' is missing: $2"
        wanted_tools="$wanted_tools $1"
    fi
}

install_packages() {
    manager=$1
    shift
    case $manager in
    apt-get)
        as_root apt-get update -qq &&
            as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@"
        ;;
    dnf) as_root dnf install -y --setopt=install_weak_deps=False "$@" ;;
    # Refresh the package lists only if they do not know the packages: Arch supports no partial upgrades.
    pacman) as_root pacman -S --needed --noconfirm "$@" || as_root pacman -Sy --needed --noconfirm "$@" ;;
    apk) as_root apk add --no-progress "$@" ;;
    zypper) as_root zypper --non-interactive install --no-recommends "$@" ;;
    esac
}

install_wanted() {
    [ -n "$wanted_tools" ] || return 0
    manager=$(package_manager) ||
        die "cannot install$wanted_tools: no apt-get, dnf, pacman, apk or zypper here (install them by hand)"
    packages=
    for tool in $wanted_tools; do
        packages="$packages $(packages_of "$tool" "$manager")"
    done
    if ! is_root && ! command -v sudo >/dev/null 2>&1 && ! command -v doas >/dev/null 2>&1; then
        die "cannot install$packages: not root, and neither sudo nor doas is here (as root: $manager, then run this again)"
    fi
    say "${0##*/}: installing with $manager:$packages"
    output=$(mktemp)
    # Split on purpose: package names hold no blanks.
    # shellcheck disable=SC2086
    if ! install_packages "$manager" $packages >"$output" 2>&1; then
        cat "$output" >&2
        rm -f "$output"
        die "cannot install$packages: $manager failed, see above (install them by hand, then run this again)"
    fi
    rm -f "$output"
    for tool in $wanted_tools; do
        has_tool "$tool" || die "cannot go on: '$tool' is still missing after installing$packages (is it in PATH?)"
    done
    wanted_tools=
}

want_fusermount() {
    want fusermount3 'mounts and unmounts FUSE file systems for users who are not root'
    # Docker and systemd make this link; a bare installation has none, and there fusermount3 mounts but never unmounts.
    if ! is_root && [ ! -e /etc/mtab ]; then
        say "${0##*/}: '/etc/mtab' is missing: without it fusermount3 does not unmount; linking it to /proc/self/mounts"
        as_root ln -s ../proc/self/mounts /etc/mtab ||
            die "cannot link '/etc/mtab' (as root: ln -s ../proc/self/mounts /etc/mtab, then run this again)"
    fi
}

# --- the program -----------------------------------------------------------------------------------------------

# The version of Rust that Cargo.toml asks for: '1.91'.
needed_rust() { sed -n 's/^rust-version = "\([0-9.]*\)".*/\1/p' "$repository/Cargo.toml"; }

# The version of Rust that cargo would build with: '1.63.0'.
found_rust() { (cd "$repository" && "${RUSTC:-rustc}" --version 2>/dev/null) | sed -n 's/^rustc \([0-9.]*\).*/\1/p'; }

# is_older VERSION VERSION: by the first two numbers of each.
is_older() (
    first=${1#*.}
    second=${2#*.}
    [ "${1%%.*}" -lt "${2%%.*}" ] || { [ "${1%%.*}" -eq "${2%%.*}" ] && [ "${first%%.*}" -lt "${second%%.*}" ]; }
)

# Without this check, a cargo before 1.85 would only report an unknown edition.
check_rust() {
    found=$(found_rust)
    needed=$(needed_rust)
    if [ -z "$found" ] || ! is_older "$found" "$needed"; then
        return 0
    fi
    if command -v rustup >/dev/null 2>&1; then
        die "cannot build: Rust $needed or newer is needed, this is $found (rustup update stable && rustup default stable)"
    fi
    die "cannot build: Rust $needed or newer is needed, this is $found, '$(command -v rustc)' (install one beside it: https://rustup.rs, then run this in a new shell)"
}

find_cargo() {
    if ! command -v cargo >/dev/null 2>&1; then
        PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin
        export PATH
    fi
    if ! command -v cargo >/dev/null 2>&1; then
        # A toolchain of rustup's belongs to one user; root does not build with it.
        if is_root && [ -n "${SUDO_USER:-}" ]; then
            die "cannot build: root has no 'cargo' (as $SUDO_USER: cargo build --release --locked; then: sudo env IMMUTA_FS=$(quoted "$repository/target/release/immuta-fs") $(quoted "$0"))"
        fi
        die "cannot build: there is no 'cargo' (install Rust $(needed_rust) or newer: https://rustup.rs)"
    fi
    check_rust
}

want_build_tools() {
    want cc 'the C linker, which cargo calls to link the programs'
    want certificates 'the TLS roots, with which cargo downloads the dependencies'
}

# Asks cargo, because CARGO_TARGET_DIR and configuration files can move the directory.
target_dir() {
    (cd "$repository" && cargo metadata --format-version 1 --no-deps --offline) |
        sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p'
}

# build_daemon [CARGO BUILD OPTIONS]: sets `daemon` to the built program's path.
build_daemon() {
    find_cargo
    say "${0##*/}: cargo build --locked${*:+ $*}"
    artifacts=$(cd "$repository" && cargo build --locked "$@" --message-format json-render-diagnostics) ||
        die "cannot build immuta-fs: cargo failed, see above"
    daemon=$(printf '%s\n' "$artifacts" | sed -n 's/.*"executable":"\([^"]*\/immuta-fs\)".*/\1/p')
    [ -x "$daemon" ] || die "cannot find the built immuta-fs (cargo named '$daemon')"
}

# --- mounts and daemons ----------------------------------------------------------------------------------------

default_mountpoint() {
    if is_root; then say /mnt/log; else say "$HOME/immuta-log"; fi
}

# absolute PATH: without symbolic links; its last part need not exist, and may be a mount that answers no more.
absolute() (
    if [ -L "$1" ]; then
        readlink -f -- "$1"
        return
    fi
    case $1 in
    / | . | .. | */. | */..) cd "$1" && pwd -P ;;
    *)
        parent=$(dirname -- "$1")
        parent=$(cd -- "$parent" 2>/dev/null && pwd -P) || return 1
        printf '%s/%s\n' "${parent%/}" "$(basename -- "$1")"
        ;;
    esac
)

# mounted_as MOUNTPOINT: prints source and type of the mount that the kernel's table has there; fails if there is none.
mounted_as() (
    tab=$(printf '\t')
    path=$(printf '%s' "$1" | sed "s/\\\\/\\\\134/g; s/ /\\\\040/g; s/$tab/\\\\011/g")
    found=
    while read -r source directory type _; do
        [ "$directory" != "$path" ] || found="$source $type"
    done </proc/self/mounts
    [ -n "$found" ] && say "$found"
)

is_mounted() { mounted_as "$1" >/dev/null; }

# True while the mount's daemon answers; false after it died (ENOTCONN). Asked with statfs(2): stat(2) is answered from
# the kernel's cache for a second after the death.
answers() { stat -f -- "$1" >/dev/null 2>&1; }

mounted_and_answers() { is_mounted "$1" && answers "$1"; }

is_ours() {
    case $(mounted_as "$1") in
    *' fuse.immuta-fs') return 0 ;;
    *) return 1 ;;
    esac
}

# A zombie has ended too: in a container, process 1 may never collect it.
has_ended() {
    case $(sed -n 's/^State:[[:space:]]*\(.\).*/\1/p' "/proc/$1/status" 2>/dev/null) in
    '' | Z | X) return 0 ;;
    *) return 1 ;;
    esac
}

# has_argument PID PATH: whether the process was given that path, seen from its working directory.
has_argument() (
    directory=$(readlink "/proc/$1/cwd" 2>/dev/null) || directory=/
    # A daemon's working directory is /: its relative paths start where it was started.
    detached=$(tr '\0' '\n' <"/proc/$1/cmdline" 2>/dev/null | sed -n 's/^--detached=//p')
    directory=${detached:-$directory}
    tr '\0' '\n' <"/proc/$1/cmdline" 2>/dev/null | {
        while read -r argument; do
            argument=${argument%/}
            case $argument in
            "$2" | "${2#"${directory%/}"/}" | "./${2#"${directory%/}"/}") exit 0 ;;
            esac
        done
        exit 1
    }
)

# has_options PID OPTION...: whether the process was given these options, in this order, with no others in between.
has_options() (
    given=$(tr '\0' '\n' <"/proc/$1/cmdline" 2>/dev/null)
    shift
    case "
$given
" in
    *"
$(printf '%s\n' "$@")
"*) return 0 ;;
    *) return 1 ;;
    esac
)

serves() {
    [ "$(cat "/proc/$1/comm" 2>/dev/null)" = immuta-fs ] && ! has_ended "$1" && has_argument "$1" "$2"
}

state_dir() {
    if [ -n "${IMMUTA_STATE_DIR:-}" ]; then
        say "$IMMUTA_STATE_DIR"
    elif is_root; then
        say /run/immuta-fs
    else
        say "${XDG_STATE_HOME:-$HOME/.local/state}/immuta-fs"
    fi
}

# state_file MOUNTPOINT SUFFIX: '/mnt/my-log' becomes 'mnt-my%2dlog', so that no two mount points share a file.
state_file() {
    printf '%s/%s.%s\n' "$(state_dir)" "$(printf '%s' "${1#/}" | sed 's/%/%25/g; s/-/%2d/g; s#/#-#g')" "$2"
}

# daemon_of MOUNTPOINT: prints the pid of the daemon that serves it, recorded by mount.sh or started by hand.
daemon_of() (
    recorded=$(cat "$(state_file "$1" pid)" 2>/dev/null) || recorded=
    if [ -n "$recorded" ] && serves "$recorded" "$1"; then
        say "$recorded"
        return 0
    fi
    for process in /proc/[0-9]*; do
        if serves "${process#/proc/}" "$1"; then
            say "${process#/proc/}"
            return 0
        fi
    done
    return 1
)

# holders MOUNTPOINT: prints a line for each process that keeps the mount busy, as far as this user may see processes.
holders() (
    for process in /proc/[0-9]*; do
        # One ls for each process, not one readlink for each descriptor. The path follows the arrow.
        # shellcheck disable=SC2012
        ls -l "$process/cwd" "$process/root" "$process/exe" "$process/fd" 2>/dev/null | sed -n 's/.* -> //p' |
            while read -r path; do
                case $path in
                "$1" | "$1"/*)
                    say "  $(cat "$process/comm" 2>/dev/null) (process ${process#/proc/}) holds '$path'"
                    break
                    ;;
                esac
            done
    done
)

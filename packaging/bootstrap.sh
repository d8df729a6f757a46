# Sourced by run.sh and test.sh: finds or gets uv, a fitting Python and system packages. POSIX shell.
# Nothing is installed without saying so; sudo is asked for only when a system package is missing.

say() { printf '%s\n' "comfy-runpod: $*" >&2; }

# as_root COMMAND...: directly as root, else through sudo.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; return; fi
    if command -v sudo >/dev/null 2>&1; then sudo "$@"; return; fi
    say "This needs root, and there is no sudo. Run as root: $*"
    return 1
}

# apt_install PACKAGE...: installs what is missing of these Debian packages.
apt_install() {
    missing=
    for package in "$@"; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
    done
    [ -n "$missing" ] || return 0
    if ! command -v apt-get >/dev/null 2>&1; then
        say "Please install these with your system's package manager:$missing"
        return 1
    fi
    say "Installing system packages:$missing"
    as_root apt-get update -qq >/dev/null || say "apt-get update failed; trying with the lists that are here."
    # shellcheck disable=SC2086
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
}

# have_lib NAME: whether the dynamic loader knows a library.
have_lib() { { ldconfig -p 2>/dev/null || /sbin/ldconfig -p; } | grep -q "$1"; }

# get_qt_libraries [offscreen]: what PySide6's wheels need of the system; nothing when all is there.
get_qt_libraries() {
    [ "$(uname -s)" = Linux ] || return 0
    set -- "${1:-window}"
    wanted='libEGL.so.1:libegl1 libGL.so.1:libgl1 libxkbcommon.so.0:libxkbcommon0 libdbus-1.so.3:libdbus-1-3
        libfontconfig.so.1:libfontconfig1 libglib-2.0.so.0:libglib2.0-0'
    if [ "$1" = window ]; then
        wanted="$wanted libxcb-cursor.so.0:libxcb-cursor0 libxkbcommon-x11.so.0:libxkbcommon-x11-0
            libxcb-icccm.so.4:libxcb-icccm4 libxcb-keysyms.so.1:libxcb-keysyms1 libxcb-shape.so.0:libxcb-shape0"
    fi
    packages=
    for pair in $wanted; do
        have_lib "${pair%%:*}" || packages="$packages ${pair#*:}"
    done
    # shellcheck disable=SC2086
    [ -z "$packages" ] || apt_install $packages
}

# get_uv: sets UV. From PATH, else from an environment of its own that pip fills from the Python package index.
get_uv() {
    if command -v uv >/dev/null 2>&1; then UV=$(command -v uv); return; fi
    home="${XDG_DATA_HOME:-$HOME/.local/share}/comfy-runpod/uv"
    UV="$home/bin/uv"
    [ -x "$UV" ] && return
    command -v python3 >/dev/null 2>&1 || apt_install python3
    python3 -c 'import ensurepip, venv' 2>/dev/null || apt_install python3-venv
    say "Getting uv from the Python package index into $home"
    python3 -m venv "$home"
    "$home/bin/python" -m pip install --quiet --disable-pip-version-check uv
}

# choose_python: the system's Python when it is 3.11 to 3.13, else uv gets one. An environment that is there stays.
choose_python() {
    [ -z "${UV_PYTHON:-}" ] || return 0
    for candidate in .venv/bin/python python3 python3.13 python3.12 python3.11; do
        path=$("$candidate" -c 'import sys
if not (3, 11) <= sys.version_info[:2] <= (3, 13): sys.exit(1)
print(sys.executable)' 2>/dev/null) || continue
        export UV_PYTHON_DOWNLOADS=never
        [ "$candidate" = .venv/bin/python ] || export UV_PYTHON="$path"
        return 0
    done
    say "No Python 3.11 to 3.13 is here; uv gets one."
}

# Sourced by test.sh after bootstrap.sh: a container engine, a registry and a base image of our own. POSIX shell.
# Everything is below one folder and of processes that we started; the system's own Docker is left alone.

_suite=bookworm
_trusted=/etc/ssl/certs/ca-certificates.crt
_keyring=/usr/share/keyrings/debian-archive-keyring.gpg

# start_engine DIR: exports DOCKER_HOST, TEST_REGISTRY, TEST_BASE_IMAGE and TEST_BUILD_NETWORK (empty, or host where
# builds have no network of their own). Where it cannot, returns 1 and says why. DIR is short: sockets are in it.
start_engine() {
    [ "$(uname -s)" = Linux ] || { say "No engine is started: only on Linux."; return 1; }
    [ "$(id -u)" -eq 0 ] || { say "No engine is started: it needs root."; return 1; }
    command -v apt-get >/dev/null 2>&1 || { say "No engine is started: only on Debian and Ubuntu."; return 1; }
    apt_install docker.io docker-registry mmdebstrap debian-archive-keyring iptables iproute2 \
        || { say "No engine is started: its packages cannot be installed."; return 1; }
    mkdir -p "$1" || return 1
    _engine=$(cd "$1" && pwd)
    { _start_dockerd && _start_registry && _make_base; } || { stop_engine; return 1; }
    export DOCKER_HOST TEST_REGISTRY TEST_BASE_IMAGE TEST_BUILD_NETWORK
}

# stop_engine: ends what start_engine began, and removes its folder.
stop_engine() {
    [ -n "${_engine:-}" ] || return 0
    if [ -S "$_engine/docker.sock" ]; then
        # shellcheck disable=SC2046 # a list of names
        set -- $(_docker ps --all --quiet 2>/dev/null)
        [ $# -eq 0 ] || _docker rm --force "$@" >/dev/null 2>&1 || true
    fi
    _end "${_registry_pid:-}"
    _end "${_dockerd_pid:-}"
    [ -z "${_our_bridge:-}" ] || ip link delete "$_our_bridge" 2>/dev/null || true
    # What is mounted last is in front.
    awk -v below="$_engine/" 'index($2, below) == 1 { print $2 }' /proc/mounts | sort -r | while IFS= read -r place; do
        umount "$place" 2>/dev/null || umount -l "$place" || true
    done
    rm -rf --one-file-system "$_engine"
    unset _engine _registry_pid _dockerd_pid _our_bridge DOCKER_HOST TEST_REGISTRY TEST_BASE_IMAGE TEST_BUILD_NETWORK
}

_docker() { DOCKER_HOST="unix://$_engine/docker.sock" docker "$@"; }

_start_dockerd() {
    set --
    TEST_BUILD_NETWORK=
    if grep -qsx dockerd /proc/[0-9]*/comm; then
        # A second engine with rules for packets would take away the first one's, and one that is told to have
        # no bridge removes the first one's. So it has a bridge that leads nowhere.
        _our_bridge=crp$$
        { ip link add name "$_our_bridge" type bridge && ip address add 172.31.254.1/24 dev "$_our_bridge" \
            && ip link set "$_our_bridge" up; } \
            || { say "No engine is started: no network bridge can be made beside the other engine's."; return 1; }
        set -- "--bridge=$_our_bridge" --iptables=false
        TEST_BUILD_NETWORK=host
    elif ! ip link show docker0 >/dev/null 2>&1; then
        _our_bridge=docker0
    fi
    dockerd --data-root "$_engine/data" --exec-root "$_engine/exec" --pidfile "$_engine/pid" \
        --host "unix://$_engine/docker.sock" --containerd-namespace "ours-$$" \
        --containerd-plugins-namespace "ours-plugins-$$" "$@" >"$_engine/dockerd.log" 2>&1 &
    _dockerd_pid=$!
    DOCKER_HOST="unix://$_engine/docker.sock"
    _wait_for "$_dockerd_pid" _docker version && return
    say "No engine is started: dockerd says: $(tail -n 1 "$_engine/dockerd.log")"
    return 1
}

_start_registry() {
    cat >"$_engine/registry.yml" <<END
version: 0.1
log: {level: info}
storage: {filesystem: {rootdirectory: $_engine/registry}, delete: {enabled: true}}
http: {addr: "127.0.0.1:0"}
END
    docker-registry serve "$_engine/registry.yml" >"$_engine/registry.log" 2>&1 &
    _registry_pid=$!
    if _wait_for "$_registry_pid" grep -q 'listening on' "$_engine/registry.log"; then
        TEST_REGISTRY=$(sed -n 's/.*listening on \(127\.0\.0\.1:[0-9]*\).*/\1/p' "$_engine/registry.log")
        return
    fi
    say "No engine is started: the registry says: $(tail -n 1 "$_engine/registry.log")"
    return 1
}

# A small Debian with Python. Making it takes half a minute, so it is kept for a week. It trusts whom this computer
# trusts: behind a proxy with certificates of its own, a build could else fetch nothing.
_make_base() {
    TEST_BASE_IMAGE=comfy-runpod-test/base:1
    kept="${XDG_CACHE_HOME:-$HOME/.cache}/comfy-runpod/base-$_suite-2.tar"
    if [ -z "$(find "$kept" -mtime -7 2>/dev/null)" ]; then
        mkdir -p "$(dirname "$kept")"
        mirror=$(apt-get indextargets --format '$(SITE) $(CODENAME) $(COMPONENT)' 'Created-By: Packages' 2>/dev/null \
            | awk -v suite="$_suite" '$2 == suite && $3 == "main" { print $1; exit }')
        # In memory where there is room: it writes thousands of files to read them once.
        room=$(df --output=avail /dev/shm 2>/dev/null | tail -n 1)
        [ "${room:-0}" -gt 2000000 ] && place=/dev/shm || place="$_engine"
        TMPDIR="$place" mmdebstrap --quiet --mode=root --format=tar --variant=apt --components=main --keyring="$_keyring" \
            --include=python3,python3-venv,ca-certificates --dpkgopt=force-unsafe-io \
            --aptopt='Acquire::Languages "none"' --customize-hook="copy-in $_trusted $(dirname "$_trusted")" "$_suite" "$kept.$$" "${mirror:-http://deb.debian.org/debian}" \
            >"$_engine/base.log" 2>&1 || {
            rm -f "$kept.$$"
            say "No engine is started: no base image can be made: $(tail -n 1 "$_engine/base.log")"
            return 1
        }
        mv "$kept.$$" "$kept"
    fi
    _docker import --change "ENV SSL_CERT_FILE=$_trusted PIP_CERT=$_trusted" "$kept" "$TEST_BASE_IMAGE" >/dev/null
}

# _wait_for PID COMMAND...: until the command succeeds; fails when the process ends, or after half a minute.
_wait_for() {
    pid=$1
    shift
    left=300
    until "$@" >/dev/null 2>&1; do
        left=$((left - 1))
        { [ "$left" -gt 0 ] && _lives "$pid"; } || return 1
        sleep 0.1
    done
}

# A child that has ended keeps its number until it is waited for.
_lives() { [ -e "/proc/$1" ] && ! grep -qs '^State:.Z' "/proc/$1/status"; }

# _end PID: asks a child of ours to end, and after ten seconds no longer asks.
_end() {
    [ -n "$1" ] || return 0
    kill "$1" 2>/dev/null || return 0
    left=100
    while _lives "$1" && [ "$left" -gt 0 ]; do
        left=$((left - 1))
        sleep 0.1
    done
    kill -KILL "$1" 2>/dev/null || true
    wait "$1" 2>/dev/null || true
}

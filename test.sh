#!/bin/sh
# Every check that CI runs, installing what it needs. `./test.sh --long` runs the full figures too (up to an hour).
set -eu
cd "$(dirname "$0")"
. packaging/bootstrap.sh
. packaging/engine.sh

get_uv
choose_python
if [ "$(uname -s)" = Linux ]; then
    get_qt_libraries offscreen
    apt_install iproute2
    { get_qt_libraries window && apt_install xvfb xauth; } || say "No virtual display: windows are drawn off screen."
fi
# Tests that run run.sh find the same uv.
PATH="$(dirname "$UV"):$PATH"
export PATH
uv sync --quiet --frozen
run() { uv run --frozen --no-sync "$@"; }
# The hundreds of processes that the tests start compile each module once and not each anew.
unset PYTHONDONTWRITEBYTECODE

checked() {
    run ruff format --check . && run ruff check . && run mypy \
        && run mypy resources/custom_nodes/comfy_runpod && run lint-imports --no-cache
}
# Windows are opened on a real X server that nobody looks at; elsewhere they are drawn off screen.
shown() {
    server=$1
    shift
    if command -v xvfb-run >/dev/null && command -v xauth >/dev/null && have_lib libxcb-cursor.so.0; then
        QT_QPA_PLATFORM=xcb xvfb-run --server-num="$server" --auto-servernum --server-args="-screen 0 1920x1200x24" "$@"
    else
        "$@"
    fi
}
which="not long"
if [ "${1:-}" = --long ]; then
    which="long or not long"
    export TEST_EXAMPLES=200
    shown 90 uv run --frozen --no-sync python -m tests.bench
fi
# Lanes side by side: most of the time they wait, for processes to start and for RunPod's SDK.
logs=$(mktemp -d)
trap 'rm -rf "$logs" || true' EXIT
checked >"$logs/checked" 2>&1 &
checked=$!
part() {
    log=$1
    server=$2
    shift 2
    # A folder of its own for each: pytest's common one is tidied by all of them at once, and one falls over the other.
    set -- "$@" -m "$which" -o "cache_dir=$logs/cache-$log" --basetemp="$logs/t-$log"
    code=0
    # Each looks for a free server number of its own, or two would take the same.
    shown "$server" uv run --frozen --no-sync pytest "$@" --durations=8 >"$logs/$log" 2>&1 || code=$?
    # Five lanes share two cores: what fails of want of time is told, and tried once more. What is broken fails again.
    missed=$(grep -c '^FAILED\|^ERROR' "$logs/$log") || true
    if [ "$code" -eq 1 ] && [ "$missed" -ge 1 ] && [ "$missed" -le 3 ]; then
        code=0
        shown "$server" uv run --frozen --no-sync pytest "$@" --last-failed --last-failed-no-failures none \
            >"$logs/$log-again" 2>&1 || code=$?
        [ "$code" -ne 0 ] || grep '^FAILED\|^ERROR' "$logs/$log" >>"$logs/raced"
    fi
    return "$code"
}
worker="tests/e2e/test_faults.py tests/e2e/test_worker.py tests/e2e/test_carriers.py"
lines="tests/e2e/test_bad_lines.py tests/e2e/test_clock.py tests/e2e/test_downloads_cut.py"
other="tests/e2e/test_secrets.py"
some="tests/e2e/test_many.py tests/e2e/test_install.py"
waiting="tests/e2e/test_other_worker.py"
sync="tests/e2e/test_sync.py tests/e2e/test_sync_kills.py"
rooms="tests/unit/docker tests/unit/image tests/unit/s3 tests/unit/sync"
# A container engine of our own, where one can be started. REQUIRE_DOCKER=1: nothing of it may be left out.
image() {
    folder=$(mktemp -d /tmp/e.XXXXXX)
    trap 'stop_engine; rm -rf "$folder"' EXIT
    # Elsewhere one that is there is used: nobody gets an engine installed by running tests.
    if [ "${REQUIRE_DOCKER:-}" = 1 ]; then start_engine "$folder" >"$logs/engine" 2>&1 || cat "$logs/engine"; fi
    failed=0
    part image 600 tests/docker || failed=$?
    # shellcheck disable=SC2086 # a list of folders
    part rooms 650 $rooms || failed=$?
    return "$failed"
}
window() {
    part window 100 tests/gui
}
# shellcheck disable=SC2086 # lists of files
lines() {
    failed=0
    part lines 350 $lines || failed=$?
    part worker 400 $worker || failed=$?
    part waiting 150 $waiting || failed=$?
    part sync 150 $sync || failed=$?
    part fuzz 450 tests/fuzz || failed=$?
    return "$failed"
}
program() {
    failed=0
    # shellcheck disable=SC2046,SC2086 # a list of options
    part program 200 tests/e2e $(printf -- '--ignore=%s ' $worker $lines $other $some $waiting $sync) || failed=$?
    # shellcheck disable=SC2086 # a list of files
    part some 250 $some || failed=$?
    return "$failed"
}
(image) &
image=$!
window &
window=$!
program &
program=$!
lines &
lines=$!
failed=0
# shellcheck disable=SC2046,SC2086 # a list of options
part rest 300 --ignore=tests/gui --ignore=tests/e2e --ignore=tests/fuzz --ignore=tests/docker \
    $(printf -- '--ignore=%s ' $rooms) || failed=$?
# shellcheck disable=SC2086 # a list of files
part other 500 $other || failed=$?
wait "$image" || failed=$?
wait "$checked" || failed=$?
wait "$lines" || failed=$?
wait "$window" || failed=$?
wait "$program" || failed=$?
for log in checked rest lines worker sync fuzz program some other image rooms window waiting; do
    cat "$logs/$log"
    [ ! -e "$logs/$log-again" ] || cat "$logs/$log-again"
done
if [ -e "$logs/raced" ]; then
    say "These failed once and passed when they were tried again. Each is a race to be mended:"
    cat "$logs/raced"
fi
exit "$failed"

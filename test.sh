#!/bin/sh
# Every check that CI runs, installing what it needs. `./test.sh --long` runs the full figures too (up to an hour).
set -eu
cd "$(dirname "$0")"
. packaging/bootstrap.sh

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

run ruff format --check .
run ruff check .
run mypy
run lint-imports --no-cache
# Windows are opened on a real X server that nobody looks at; elsewhere they are drawn off screen.
shown() {
    if command -v xvfb-run >/dev/null && command -v xauth >/dev/null && have_lib libxcb-cursor.so.0; then
        QT_QPA_PLATFORM=xcb xvfb-run --auto-servernum --server-args="-screen 0 1920x1200x24" "$@"
    else
        "$@"
    fi
}
which="not long"
if [ "${1:-}" = --long ]; then
    which="long or not long"
    shown uv run --frozen --no-sync python -m tests.bench
fi
# The window's tests beside all others: each needs one core.
window_log=$(mktemp)
trap 'rm -f "$window_log"' EXIT
shown uv run --frozen --no-sync pytest tests/gui -m "$which" --durations=5 >"$window_log" 2>&1 &
window=$!
failed=0
shown uv run --frozen --no-sync pytest --ignore=tests/gui -m "$which" --durations=10 || failed=$?
wait "$window" || failed=$?
cat "$window_log"
exit "$failed"

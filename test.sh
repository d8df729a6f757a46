#!/bin/sh
# Every check that CI runs, installing what it needs. `./test.sh --long` runs the full figures too (up to an hour).
set -eu
cd "$(dirname "$0")"
. packaging/bootstrap.sh

get_uv
choose_python
if [ "$(uname -s)" = Linux ]; then
    get_qt_libraries window
    apt_install xvfb xauth iproute2
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
    if [ "$(uname -s)" = Linux ]; then
        QT_QPA_PLATFORM=xcb xvfb-run --auto-servernum --server-args="-screen 0 1920x1200x24" "$@"
    else
        QT_QPA_PLATFORM=offscreen "$@"
    fi
}
if [ "${1:-}" = --long ]; then
    shown uv run --frozen --no-sync python -m tests.bench
    shown uv run --frozen --no-sync pytest -m "long or not long" --durations=15
else
    shown uv run --frozen --no-sync pytest -m "not long" --durations=10
fi

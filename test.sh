#!/bin/sh
# Every check that CI runs, installing what it needs. `./test.sh --long` runs the full figures too (up to an hour).
set -eu
cd "$(dirname "$0")"
. packaging/bootstrap.sh

get_uv
choose_python
if [ "$(uname -s)" = Linux ]; then
    get_qt_libraries offscreen
    apt_install xvfb iproute2
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
export QT_QPA_PLATFORM="${QT_QPA_PLATFORM:-offscreen}"
if [ "${1:-}" = --long ]; then
    run python -m tests.bench
    exec uv run --frozen --no-sync pytest -m "long or not long" --durations=15
fi
exec uv run --frozen --no-sync pytest -m "not long" --durations=10

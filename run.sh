#!/bin/sh
# Sets up everything and opens Comfy RunPod. `./run.sh ARGS` passes the arguments on: `./run.sh run …` needs no
# display. On a new Debian or Ubuntu only Python and git are needed beforehand.
set -eu
caller=$PWD
cd "$(dirname "$0")"
here=$PWD
. packaging/bootstrap.sh

get_uv
choose_python
[ -d .venv ] || say "Setting up the Python environment; the first time takes a minute."
"$UV" sync --quiet --frozen --no-dev --inexact
case "${1:-}" in
    run | jobs | endpoint | --version | --help | -h) ;;
    *) get_qt_libraries window || say "Some of Qt's system libraries are missing." ;;
esac
export COMFY_RUNPOD_CALLED_AS="$0"
cd "$caller"
exec "$here/.venv/bin/comfy-runpod" "$@"

#!/bin/sh
# The interop tests, in an environment of their own (2.2 GB): sh tests/interop/run.sh [FOLDER]
set -eu
cd "$(dirname "$0")/../.."
venv=${1:-/tmp/dpm-ref-interop}
[ -x "$venv/bin/python" ] || python3 -m venv "$venv"
"$venv/bin/pip" install --quiet --no-deps -r tests/interop/requirements.txt
OMP_NUM_THREADS=1 PYTHONPATH="$PWD" "$venv/bin/python" -m pytest tests/interop -q

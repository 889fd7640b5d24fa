#!/usr/bin/env bash
# Fetches data sets and weights: `rlossctl fetch` in this checkout. See rlossctl fetch --help.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=python3
[ ! -x "$here/.venv/bin/python" ] || python=$here/.venv/bin/python
PYTHONPATH="$here${PYTHONPATH:+:$PYTHONPATH}" exec "$python" -m rlossctl fetch "$@"

#!/usr/bin/env bash
# Every peer, or those whose id holds the argument: run.sh [PART-OF-ID]. Makes its virtual environment once.
set -euo pipefail
cd "$(dirname "$0")"
if ! [ -f .venv/complete ]; then
    python3 -m venv .venv
    .venv/bin/pip install -q -r requirements.txt
    touch .venv/complete
fi
# Two threads everywhere. The OPENBLAS pair slows a current numpy where an image sets it for an old one.
unset OPENBLAS_CORETYPE OPENBLAS_L2_SIZE
export OMP_NUM_THREADS=2 OPENBLAS_NUM_THREADS=2 NUMBA_NUM_THREADS=2
printf 'id\tpeer\twall ms\tprocessor ms\tpeak MiB\n'
for script in ranks normalizers sinkhorn banks objectives pixels decoders tower heads steps; do
    .venv/bin/python "$script.py" "$@"
done

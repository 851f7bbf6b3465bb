#!/usr/bin/env bash
# Seconds of a training step on one device, two threads and two processes, same recipe:
# scripts/step-times.sh [RECIPE] [STEPS] [ARGUMENT OF train]...
#
# Wants target/debug/xtask, built with --features mpi, and a machine that does nothing else. Two compute threads in all
# each time. Prints the median of steps.jsonl, the first ten steps left out. The first run fills the cache.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

recipe=${1:-recipes/world-seq-transf.toml} steps=${2:-60}
shift $(($# < 2 ? $# : 2))
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# For Open MPI in a container with few cores; other MPIs do not know these.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1

measure() {
    local name=$1 threads=$2
    shift 2
    # One at the end is the least number of looks at val.
    if ! RAYON_NUM_THREADS=$threads "$@" --runs "$work/$name" --set "train.steps=$steps" --set train.evaluations=1 \
        --set 'seeds=[0]' >"$work/log" 2>&1; then
        tail -n 5 "$work/log" >&2
        exit 1
    fi
    sed -n '11,$ s/.*"seconds":\([^,}]*\).*/\1/p' "$work/$name"/*/steps.jsonl | sort -g |
        awk -v name="$name" '{ seconds[NR] = $1 } END { printf "%-28s %.5f s a step\n", name, seconds[int((NR + 1) / 2)] }'
}

train=(target/debug/xtask train "$recipe" "$@")
measure "one device, two threads" 2 "${train[@]}"
measure "two devices, a thread each" 2 "${train[@]}" --devices flex:2
measure "two processes (MPI)" 1 mpirun -n 2 "${train[@]}"

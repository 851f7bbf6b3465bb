#!/usr/bin/env python3
"""A bench and its peers in turns: in_turns.py BENCH [PART-OF-ID] [ROUNDS].

On a machine whose neighbours come and go, two sittings differ by more than two programs do. Each round runs tvr, then the
peers; every figure is the median over the rounds (three, unless said), every ratio the median of the rounds' own ratios,
with the least and the most. Prints the table that docs/results/speed.md has. run.sh makes the peers' environment.
"""

import os
import statistics
import subprocess
import sys
from collections import defaultdict

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))

# The scripts that have a bench's ids.
PEERS = {
    "metrics": ["ranks"],
    "normalizers": ["normalizers", "sinkhorn", "banks"],
    "objectives": ["objectives"],
    "clip": ["pixels", "tower"],
    "frames": ["decoders"],
    "heads": ["heads"],
    "steps": ["steps"],
}
THREADS = ("RAYON_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")


def rows(command, folder):
    """(id, who): milliseconds, of the processor, peak MiB, of each line that a side prints."""
    env = {name: value for name, value in os.environ.items() if name not in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")}
    env.update((name, "2") for name in THREADS)
    lines = subprocess.run(command, cwd=folder, env=env, check=True, stdout=subprocess.PIPE, text=True).stdout
    fields = [line.split("\t") for line in lines.splitlines()]
    return {(f[0], f[1]): tuple(map(float, f[2:])) for f in fields if len(f) == 5 and "/" in f[0]}


def figure(wall, processor):
    places = 3 if wall < 10 else 1 if wall < 1000 else 0
    return f"{wall:.{places}f} ({processor:.{places}f})"


def main():
    bench, part, rounds = (sys.argv[1:] + ["", "", "3"][len(sys.argv) - 1 :])[:3]
    ours, peers = defaultdict(list), defaultdict(list)
    for number in range(int(rounds)):
        print(f"round {number + 1} of {rounds}", file=sys.stderr)
        command = ["cargo", "bench", "-q", "--profile", "dev", "-p", "benches", "--bench", bench, "--", part]
        for (name, _), values in rows(command, ROOT).items():
            ours[name].append(values)
        for script in PEERS[bench]:
            for key, values in rows([".venv/bin/python", script + ".py", part], HERE).items():
                peers[key].append(values)
    print("| id | tvr | peak MiB | peer | peer's | peak MiB | times faster |\n|---|---|---|---|---|---|---|")
    for name, values in ours.items():
        median = [statistics.median(column) for column in zip(*values)]
        mine = f"| `{name}` | {figure(*median[:2])} | {median[2]:.0f} |"
        beside = [(who, theirs) for (id_, who), theirs in peers.items() if id_ == name]
        if not beside:
            print(mine, "– | – | – | – |")
        for who, theirs in beside:
            other = [statistics.median(column) for column in zip(*theirs)]
            ratios = sorted(b[0] / a[0] for a, b in zip(values, theirs))
            spread = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
            print(mine, f"{who} | {figure(*other[:2])} | {other[2]:.0f} | {spread} |")


main()

"""The same scores as the benches (benches/benches/support/mod.rs) and one line of figures for each id."""

import os
import resource
import statistics
import sys
import time

import numpy as np

SHAPES = ((1000, 1000), (27763, 670))


def video_of(texts, videos):
    return np.arange(texts) * videos // texts


def normal(first, count):
    z = np.arange(first + 1, first + count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    total = sum((z >> np.uint64(16 * part)) & np.uint64(0xFFFF) for part in range(4))
    return (total.astype(np.float64) / 65536 - 2) * np.sqrt(3)


def unwanted(videos):
    """Every hundredth video is one that no text wants."""
    return np.arange(videos) % 100 == 99


def cosines(texts, videos):
    """Cosines [texts, videos]: 0.25 ± 0.05, 0.5 more for true pairs; unwanted videos 0.7 less, and 0.1 more. Over 0.01
    an unwanted column lies more than 104 below the largest score, so it is zero where that alone is taken off."""
    scores = np.where(unwanted(videos), 0.25 - 0.7, 0.25) + 0.05 * normal(0, texts * videos).reshape(texts, videos)
    own = video_of(texts, videos)
    scores[np.arange(texts), own] += np.where(unwanted(videos), 0.1, 0.5)[own]
    return scores.astype(np.float32)


def bank(queries, gallery):
    """A bank [queries, gallery]: the same cosines without true pairs, other numbers."""
    numbers = normal(1 << 40, queries * gallery).reshape(queries, gallery)
    return (np.where(unwanted(gallery), 0.25 - 0.7, 0.25) + 0.05 * numbers).astype(np.float32)


def processor_time():
    """Seconds of all threads, and of programs that were started and have ended."""
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(usage.ru_utime + usage.ru_stime for usage in map(resource.getrusage, kinds))


def measure(identifier, name, work, seconds=3.0, least=3):
    """Prints id, name, least wall ms, mean processor ms, the process's peak MiB so far; tabs between."""
    if len(sys.argv) > 1 and sys.argv[1] not in f"{identifier}/{name}":
        return
    work()  # compiles, warms
    walls, began, before = [], time.perf_counter(), processor_time()
    while len(walls) < least or time.perf_counter() - began < seconds:
        start = time.perf_counter()
        work()
        walls.append(time.perf_counter() - start)
    processor = (processor_time() - before) / len(walls)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{identifier}\t{name}\t{min(walls) * 1e3:.3f}\t{processor * 1e3:.3f}\t{peak:.0f}", flush=True)


def median_of_five(identifier, name, work):
    """As `measure`, but the median of five runs: for work of a second."""
    if len(sys.argv) > 1 and sys.argv[1] not in f"{identifier}/{name}":
        return
    work()
    walls, before = [], processor_time()
    for _ in range(5):
        start = time.perf_counter()
        work()
        walls.append(time.perf_counter() - start)
    processor = (processor_time() - before) / 5
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{identifier}\t{name}\t{sorted(walls)[2] * 1e3:.3f}\t{processor * 1e3:.3f}\t{peak:.0f}", flush=True)


def in_turns(name, rounds, pieces):
    """Runs all pieces {identifier: work} in each round, after one to warm up. Prints for each identifier, name, median wall
    ms, mean processor ms, peak MiB so far; then of its ratio to the first piece of the same round the median with the
    quartiles, of wall and of processor time. As in_turns of the benches."""
    if len(sys.argv) > 1:
        pieces = {identifier: work for identifier, work in pieces.items() if sys.argv[1] in identifier}
    times = {identifier: [] for identifier in pieces}
    for number in range(rounds + 1):
        for identifier, work in pieces.items():
            before, start = processor_time(), time.perf_counter()
            work()
            wall = time.perf_counter() - start
            if number:
                times[identifier].append((wall, processor_time() - before))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    for identifier, own in times.items():
        walls, processors = zip(*own)
        wall, processor = statistics.median(walls), statistics.mean(processors)
        print(f"{identifier}\t{name}\t{wall * 1e3:.3f}\t{processor * 1e3:.3f}\t{peak:.0f}")
    first, *others = times or [None]
    for identifier in others:
        said = []
        for kind, word in enumerate(("wall", "processor")):
            ratios = [own[kind] / beside[kind] for own, beside in zip(times[identifier], times[first])]
            low, median, high = statistics.quantiles(ratios, n=4)
            said.append(f"{word} {median:.2f} ({low:.2f} to {high:.2f})")
        print(f"{identifier} against {first}:", ", ".join(said), flush=True)

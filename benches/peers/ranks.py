"""Ranks of the true item: counting in numpy, torchmetrics, ranx."""

import numpy as np
import torch
from ranx import Qrels, Run, evaluate
from torchmetrics.retrieval import RetrievalRecall

from common import SHAPES, cosines, measure, video_of

torch.set_num_threads(2)

for texts, videos in SHAPES:
    scores, own = cosines(texts, videos), video_of(texts, videos)
    size = f"{texts}x{videos}"
    rows = np.arange(texts)
    starts = np.searchsorted(own, np.arange(videos))

    def count():
        """One direction, optimistic: one comparison per score."""
        return (scores > scores[rows, own][:, None]).sum(1)

    def count_ties():
        """One direction as tvr counts it: what scores above, and what scores the same."""
        true = scores[rows, own][:, None]
        return (scores > true).sum(1), (scores == true).sum(1)

    def judge():
        """Both directions with ties; V2T against each video's best caption."""
        forward = count_ties()
        best = np.maximum.reduceat(scores, starts, axis=0)
        true = np.diagonal(best)
        return forward, ((best > true).sum(0), (best == true).sum(0))

    measure(f"metrics/ranks/{size}", "numpy-count", count)
    measure(f"metrics/ranks/{size}", "numpy-count-ties", count_ties)
    measure(f"metrics/judge/{size}", "numpy-count-ties", judge)

    # R@1 alone, from flat triples: what the library asks for.
    flat = torch.from_numpy(scores).reshape(-1)
    target = torch.zeros(texts, videos, dtype=torch.bool)
    target[rows, own] = True
    target, indexes = target.reshape(-1), torch.arange(texts).repeat_interleave(videos)

    def recall():
        metric = RetrievalRecall(top_k=1)
        metric.update(flat, target, indexes)
        return metric.compute()

    measure(f"metrics/ranks/{size}", "torchmetrics-recall-at-1", recall, seconds=1, least=1)

    if texts == 1000:  # a dictionary per score: the larger matrix takes minutes to hand over
        names = [f"v{video}" for video in range(videos)]
        qrels = Qrels({f"q{text}": {names[own[text]]: 1} for text in range(texts)})
        run = Run({f"q{text}": dict(zip(names, map(float, scores[text]))) for text in range(texts)})
        cutoffs = ["recall@1", "recall@5", "recall@10", "mrr"]
        measure(f"metrics/ranks/{size}", "ranx-objects-ready", lambda: evaluate(qrels, run, cutoffs), seconds=1)

"""QB-Norm, CSLS and NNN with a bank of 10,000 queries, from their formulas: numpy, and PyTorch where it selects."""

import numpy as np
import torch

from common import bank, cosines, measure

QUERIES, GALLERY, BANK = 1000, 1000, 10000
BETA = np.float32(20.0)

torch.set_num_threads(2)
scores, reference = cosines(QUERIES, GALLERY), bank(BANK, GALLERY)
scores_torch, reference_torch = torch.from_numpy(scores), torch.from_numpy(reference)
size = f"{QUERIES}x{GALLERY}+{BANK}"


def dynamic_inverted_softmax(first_items):
    """Activation: the best item of each bank query. Rows whose winner is active are divided by the bank's sums."""
    active = np.unique(first_items(reference))
    sums = np.exp(BETA * reference).sum(0)
    result = scores.copy()
    rows = np.isin(scores.argmax(1), active)
    result[rows] = np.exp(BETA * scores[rows]) / sums
    return result


def csls_numpy(k=10):
    queries = np.partition(scores, -k, axis=1)[:, -k:].mean(1)
    items = np.partition(reference, -k, axis=0)[-k:].mean(0)
    return 2 * scores - queries[:, None] - items


def csls_torch(k=10):
    queries = scores_torch.topk(k, dim=1).values.mean(1)
    items = reference_torch.topk(k, dim=0).values.mean(0)
    return 2 * scores_torch - queries[:, None] - items


def nnn_numpy(k=128, alpha=0.75):
    return scores - np.float32(alpha) * np.partition(reference, -k, axis=0)[-k:].mean(0)


def nnn_torch(k=128, alpha=0.75):
    return scores_torch - alpha * reference_torch.topk(k, dim=0).values.mean(0)


measure(f"normalize/qb-norm/{size}", "numpy-argmax", lambda: dynamic_inverted_softmax(lambda s: s.argmax(1)))
# The published function sorts every row whole.
by_sorting = lambda: dynamic_inverted_softmax(lambda s: np.argsort(-s, axis=1)[:, :1])
measure(f"normalize/qb-norm/{size}", "numpy-argsort", by_sorting, least=2)
measure(f"normalize/csls/{size}", "numpy-partition", csls_numpy)
measure(f"normalize/csls/{size}", "torch-topk", csls_torch)
measure(f"normalize/nnn/{size}", "numpy-partition", nnn_numpy)
measure(f"normalize/nnn/{size}", "torch-topk", nnn_torch)

"""Dual softmax in numpy: s * softmax over the queries, temperature 0.01."""

import numpy as np

from common import SHAPES, cosines, measure

TEMPERATURE = np.float32(0.01)

for queries, gallery in SHAPES:
    scores = cosines(queries, gallery)

    def dual_softmax():
        share = np.exp((scores - scores.max(0)) / TEMPERATURE)
        share /= share.sum(0)
        return scores * share

    measure(f"normalize/dual-softmax/{queries}x{gallery}", "numpy", dual_softmax)

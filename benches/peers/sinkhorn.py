"""Sinkhorn, 20 iterations, tau 0.01: numpy's scaling form, ott-jax, POT. Each line says whether it stayed finite."""

import sys
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import ot
from ott.geometry import geometry
from ott.problems.linear import linear_problem
from ott.solvers.linear import sinkhorn

from common import SHAPES, cosines, measure

TAU, ITERATIONS = 0.01, 20
warnings.filterwarnings("ignore")
np.seterr(all="ignore")


def finite(name, values):
    word = "finite" if np.isfinite(values).all() else "NOT finite"
    print(f"# {name}: {word}", file=sys.stderr)


for queries, gallery in SHAPES:
    scores = cosines(queries, gallery)
    rows = np.full(queries, 1 / queries, np.float32)
    columns = np.full(gallery, 1 / gallery, np.float32)
    identifier = f"normalize/sinkhorn-20-tau0.01/{queries}x{gallery}"

    def scaling():
        """The scaling form on exp(s / tau), shifted by the maximum: fast, and under- or overflows when tau is small."""
        kernel = np.exp((scores - scores.max()) / np.float32(TAU))
        u = np.ones(queries, np.float32)
        for _ in range(ITERATIONS):
            v = columns / (kernel.T @ u)
            u = rows / (kernel @ v)
        return np.concatenate([u, v])

    problem = linear_problem.LinearProblem(
        geometry.Geometry(cost_matrix=jnp.asarray(-scores), epsilon=TAU), a=jnp.asarray(rows), b=jnp.asarray(columns)
    )
    # A threshold below zero never stops early; inner_iterations = all checks the error once.
    solver = sinkhorn.Sinkhorn(
        lse_mode=True, min_iterations=ITERATIONS, max_iterations=ITERATIONS, inner_iterations=ITERATIONS, threshold=-1.0
    )
    solve = jax.jit(lambda problem: solver(problem).g)

    def pot():
        return ot.sinkhorn(
            rows, columns, -scores, TAU, method="sinkhorn_log", numItermax=ITERATIONS, stopThr=0, warn=False
        )

    peers = {
        "numpy-scaling": scaling,
        "ott-jax-lse": lambda: solve(problem).block_until_ready(),
        "pot-sinkhorn-log": pot,
    }
    for name, work in peers.items():
        if not (len(sys.argv) > 1 and sys.argv[1] not in f"{identifier}/{name}"):
            finite(f"{identifier} {name}", work())
            measure(identifier, name, work, least=2)

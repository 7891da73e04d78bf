"""Sorted edge lengths of minimum spanning trees by SciPy, in float64.

Argument: a folder with batches.json and points.f32; deaths.f64 is written into it. Needs NumPy and SciPy (Debian: python3-scipy).
"""

import json
import pathlib
import sys

import numpy as np
from scipy.sparse.csgraph import minimum_spanning_tree
from scipy.spatial.distance import pdist, squareform

METRICS = {"l1": "cityblock", "l2": "euclidean", "linf": "chebyshev"}

folder = pathlib.Path(sys.argv[1])
numbers = np.fromfile(folder / "points.f32", dtype=np.float32).astype(np.float64)
deaths = []
at = 0
for batch in json.loads((folder / "batches.json").read_text()):
    for size in batch["sizes"]:
        points = numbers[at : at + size * batch["width"]].reshape(size, batch["width"])
        at += points.size
        tree = minimum_spanning_tree(squareform(pdist(points, METRICS[batch["metric"]])))
        assert tree.nnz == size - 1, f"SciPy found {tree.nnz} edges between {size} points"
        deaths.append(np.sort(tree.data))
np.concatenate(deaths).tofile(folder / "deaths.f64")

"""Relative projections in PyTorch in float64: JSON of problems on standard input, values and gradients on standard output. Needs torch."""

import json
import math
import sys

import torch
from torch.nn import functional


def shrunk(matrix, shrinkage):
    n = matrix.shape[0]
    return (1 - shrinkage) * matrix + shrinkage * torch.trace(matrix) / n * torch.eye(n, dtype=matrix.dtype)


def normalised(rows, source, kind, shrinkage):
    mean = source.mean(0)
    if kind == "none":
        return rows
    if kind == "centre":
        return rows - mean
    if kind == "standardise":
        return (rows - mean) / source.std(0, unbiased=False)
    factor = torch.linalg.cholesky(shrunk((source - mean).T @ (source - mean) / source.shape[0], shrinkage))
    return torch.linalg.solve_triangular(factor, (rows - mean).T, upper=False).T


def compared(u, v, similarity, p, shrinkage):
    if similarity in ("cosine", "angular"):
        cosine = functional.cosine_similarity(u.unsqueeze(1), v.unsqueeze(0), dim=-1, eps=0)
        return cosine if similarity == "cosine" else 1 - torch.arccos(cosine) / math.pi
    if similarity in ("inner", "scaledInner"):
        return u @ v.T / (1 if similarity == "inner" else math.sqrt(u.shape[1]))
    if similarity == "changeOfBasis":
        if v.shape[0] <= v.shape[1]:
            return torch.linalg.solve(shrunk(v @ v.T, shrinkage), v @ u.T).T
        return torch.linalg.solve(shrunk(v.T @ v, shrinkage), u.T).T @ v.T
    order = {"l1": 1.0, "l2": 2.0, "linf": math.inf, "lp": p, "mahalanobis": 2.0}[similarity]
    return -torch.linalg.vector_norm(u.unsqueeze(1) - v.unsqueeze(0), ord=order, dim=-1)


def solve(problem):
    x, anchors, cotangent = [torch.tensor(v, dtype=torch.float64).reshape(s) for v, s in zip(problem["values"], problem["shapes"])]
    leaves = [x.requires_grad_(), anchors.requires_grad_()]
    options = problem["options"]
    source = x if options["statistics"] == "batch" else anchors
    if options["detachStatistics"]:
        source = source.detach()
    shrinkage = options.get("shrinkage", 0)
    u, v = [normalised(rows, source, options["normalise"], shrinkage) for rows in leaves]
    y = compared(u, v, options["similarity"], options.get("p"), shrinkage)
    return [each.detach().flatten().tolist() for each in (y, *torch.autograd.grad(y, leaves, cotangent))]


json.dump([solve(problem) for problem in json.load(sys.stdin)], sys.stdout)

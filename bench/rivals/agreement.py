"""Three other systems on their own formulas: JSON of problems on standard input, their results on standard output.

PyTorch: Sinkhorn in the log domain with its autograd. POT: ot.sinkhorn. DeepSeek's arithmetic with eps, as in TileKernels, in PyTorch.
Needs torch, numpy and POT (Debian: python3-torch python3-pot).
"""

import json
import sys

import numpy as np
import ot
import torch


def log_sinkhorn(x, iterations):
    for _ in range(iterations):
        x = x - torch.logsumexp(x, -1, keepdim=True)
        x = x - torch.logsumexp(x, -2, keepdim=True)
    return x.exp()


def deepseek(x, iterations, eps):
    x = torch.softmax(x, -1) + eps
    x = x / (x.sum(-2, keepdim=True) + eps)
    for _ in range(iterations - 1):
        x = x / (x.sum(-1, keepdim=True) + eps)
        x = x / (x.sum(-2, keepdim=True) + eps)
    return x


def with_gradient(problem, function):
    x = torch.tensor(problem["logits"], dtype=torch.float64).reshape(problem["shape"]).requires_grad_()
    p = function(x)
    p.backward(torch.tensor(problem["cotangent"], dtype=torch.float64).reshape(problem["shape"]))
    return {"P": p.detach().flatten().tolist(), "gradient": x.grad.flatten().tolist()}


def solve(problem):
    iterations = problem["iterations"]
    if problem["system"] == "torch":
        return with_gradient(problem, lambda x: log_sinkhorn(x, iterations))
    if problem["system"] == "deepseek":
        return with_gradient(problem, lambda x: deepseek(x, iterations, problem["eps"]))
    cost = -np.array(problem["logits"]).reshape(problem["shape"])
    a, b = np.array(problem["a"]), np.array(problem["b"])
    p = ot.sinkhorn(a, b, cost, problem["reg"], numItermax=iterations, stopThr=0, method=problem["method"])
    return {"P": p.flatten().tolist()}


json.dump([solve(problem) for problem in json.load(sys.stdin)], sys.stdout)

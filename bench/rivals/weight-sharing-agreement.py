"""The weight-sharing layer written out from its equations, in float64: JSON of problems on standard input, results and gradients on standard output.

Needs torch (Debian: python3-torch).
"""

import json
import sys

import torch
from torch.nn import functional


def sinkhorn(logits, iterations, temperature):
    x = logits / temperature
    for _ in range(iterations):
        x = x - torch.logsumexp(x, -1, keepdim=True)
        x = x - torch.logsumexp(x, -2, keepdim=True)
    return x.exp()


def constrained(logits, options):
    if options["constraint"] == "none":
        return logits
    if options["constraint"] == "rowStochastic":
        return torch.softmax(logits / options["temperature"], -1)
    return sinkhorn(logits, options["iterations"], options["temperature"])


def with_identity(learned):
    return torch.cat([torch.eye(learned.shape[1], dtype=torch.float64)[None], learned])


def tied(space):
    """A[b][c, a] = sinkhorn over (c, a) of <R_c, R_b R_a> / (d * temperature), with the layer's own temperature and iterations."""
    every = with_identity(space)
    overlap = torch.einsum("cij,bik,akj->bca", every, space, every)
    return sinkhorn(overlap / space.shape[1], 20, 0.05)


def matrices(problem, operands):
    """R of all elements, the identity first where it has none: [g, d, d]."""
    form, options = problem["form"], problem["options"]
    if form == "positions":
        (index,) = operands
        learned = functional.one_hot(index.long(), index.shape[1]).double()
    else:
        factors = [constrained(logits, options) for logits in operands]
        if form == "tied":
            factors.insert(0, tied(factors[0]))
        learned = factors[0] if form == "dense" else torch.stack([torch.kron(a, b) for a, b in zip(*factors)])
    return with_identity(learned) if options["identity"] else learned


def layer(problem, x, w, bias, *operands):
    options = problem["options"]
    axes = options["dimensions"]
    features, channels, *kernel = w.shape
    expanded = torch.einsum("gnm,oim->ogin", matrices(problem, operands), w.flatten(2))
    group = expanded.shape[1]
    weight = expanded.reshape(features * group, -1, *kernel[-axes:])
    if len(kernel) > axes:
        x = x.flatten(1, 2)
    convolve = [functional.conv1d, functional.conv2d, functional.conv3d][axes - 1]
    y = convolve(x, weight, padding=options["padding"], stride=options["stride"], dilation=options["dilation"])
    return y.unflatten(1, (features, group)) + bias.reshape(-1, *[1] * (axes + 1))


def solve(problem):
    names = list(problem["tensors"])
    tensors = [torch.tensor(t["values"], dtype=torch.float64).reshape(t["shape"]) for t in problem["tensors"].values()]
    leaves = [name for name in names if name != "index"]
    for name, tensor in zip(names, tensors):
        tensor.requires_grad_(name in leaves)
    y = layer(problem, *tensors)
    y.backward(torch.tensor(problem["cotangent"], dtype=torch.float64).reshape(y.shape))
    gradients = {name: tensor.grad.flatten().tolist() for name, tensor in zip(names, tensors) if name in leaves}
    return {"y": y.detach().flatten().tolist(), "shape": list(y.shape), **gradients}


json.dump([solve(problem) for problem in json.load(sys.stdin)], sys.stdout)

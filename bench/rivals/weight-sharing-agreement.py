"""The weight-sharing layer written out from its equations, in float64: JSON of problems on standard input, results and gradients on standard output.

Needs torch (Debian: python3-torch).
"""

import json
import sys

import torch


def sinkhorn(logits, iterations, temperature):
    x = logits / temperature
    for _ in range(iterations):
        x = x - torch.logsumexp(x, -1, keepdim=True)
        x = x - torch.logsumexp(x, -2, keepdim=True)
    return x.exp()


def matrices(problem, operands):
    """R of all elements, the identity first where it has none: [g, d, d]."""
    if problem["form"] == "positions":
        (index,) = operands
        learned = torch.nn.functional.one_hot(index.long(), index.shape[1]).double()
    else:
        normalised = [sinkhorn(logits, problem["iterations"], problem["temperature"]) for logits in operands]
        learned = normalised[0] if problem["form"] == "dense" else torch.stack([torch.kron(a, b) for a, b in zip(*normalised)])
    if not problem["identity"]:
        return learned
    return torch.cat([torch.eye(learned.shape[1], dtype=torch.float64)[None], learned])


def layer(problem, x, w, bias, *operands):
    features, channels, *kernel = w.shape
    expanded = torch.einsum("gnm,oim->ogin", matrices(problem, operands), w.flatten(2))
    group = expanded.shape[1]
    weight = expanded.reshape(features * group, -1, *kernel[-2:])
    if len(kernel) == 3:
        x = x.flatten(1, 2)
    y = torch.nn.functional.conv2d(x, weight, padding=problem["padding"])
    return y.unflatten(1, (features, group)) + bias[:, None, None, None]


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

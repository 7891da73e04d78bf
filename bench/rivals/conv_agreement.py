"""Convolutions in PyTorch in float64: JSON of problems on standard input, values and gradients on standard output. Needs torch."""

import json
import sys

import torch
import torch.nn.functional as F


def convolve(problem, x, w, bias):
    options = dict(problem["options"])
    name = f"conv{'_transpose' if problem['transposed'] else ''}{problem['axes']}d"
    if problem["transposed"]:
        options["output_padding"] = options.pop("outputPadding")
    padding = options["padding"]
    if isinstance(padding, list) and isinstance(padding[0], list):
        # PyTorch's convolutions pad both sides alike; the last axis comes first in pad().
        x = F.pad(x, [side for sides in reversed(padding) for side in sides])
        options["padding"] = 0
    return getattr(F, name)(x, w, bias, **options)


def results(problem, inputs, cotangent):
    x, w, *bias = [tensor.clone().requires_grad_() for tensor in inputs]
    y = convolve(problem, x, w, bias[0] if bias else None)
    assert list(y.shape) == problem["size"], (list(y.shape), problem["size"])
    return [y.detach(), *torch.autograd.grad(y, [x, w, *bias], cotangent)]


def solve(problem):
    shapes = [*problem["shapes"], [problem["size"][1]]]
    inputs = [torch.tensor(values, dtype=torch.float64).reshape(shape) for values, shape in zip(problem["inputs"], shapes)]
    cotangent = torch.tensor(problem["cotangent"], dtype=torch.float64).reshape(problem["size"])
    values = results(problem, inputs, cotangent)
    sums = results(problem, [tensor.abs() for tensor in inputs], cotangent.abs())
    return [{"values": each.flatten().tolist(), "scale": sum.max().item()} for each, sum in zip(values, sums)]


json.dump([solve(problem) for problem in json.load(sys.stdin)], sys.stdout)

"""Reads a network that `toPlain` gave, out of its safetensors file, into torch.nn, and computes it: python3 export-agreement.py network.safetensors input.safetensors output.safetensors

The format is a few lines of the standard library, so that nothing but torch is needed."""

import json
import struct
import sys

import torch


def read(path):
    """Tensors (F32) by name, and the texts beside them."""
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
        body = bytearray(file.read())
    texts = header.pop("__metadata__", {})
    tensors = {}
    for name, entry in header.items():
        assert entry["dtype"] == "F32", name
        begin, end = entry["data_offsets"]
        tensors[name] = torch.frombuffer(body, dtype=torch.float32, count=(end - begin) // 4, offset=begin).reshape(entry["shape"]).clone()
    return tensors, texts


def write(path, name, tensor):
    values = tensor.detach().contiguous()
    data = struct.pack(f"<{values.numel()}f", *values.flatten().tolist())
    header = json.dumps({name: {"dtype": "F32", "shape": list(values.shape), "data_offsets": [0, len(data)]}}).encode()
    header += b" " * (-len(header) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(header)) + header + data)


class GlobalMean(torch.nn.Module):
    def forward(self, x):
        return x.flatten(2).mean(2)


def build(architecture, tensors):
    """torch.nn.Sequential with the names that `load_state_dict` wants. Channels of the norm are known from the convolution before it."""
    layers, channels = [], 0
    for layer in architecture:
        kind = layer["kind"]
        if kind == "conv":
            axes = len(layer["kernelSize"])
            assert all(before == behind for before, behind in layer["pads"]), "torch pads both sides alike"
            conv = [torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Conv3d][axes - 1]
            layers.append(conv(layer["inputs"], layer["outputs"], layer["kernelSize"], padding=[before for before, _ in layer["pads"]], bias=layer["bias"]))
            channels = layer["outputs"]
        elif kind == "norm":
            layers.append(torch.nn.GroupNorm(1, channels, eps=layer["eps"], affine=False))
        elif kind == "relu":
            layers.append(torch.nn.ReLU())
        elif kind == "maxPool":
            layers.append(torch.nn.MaxPool2d(layer["size"]))
        elif kind == "globalMean":
            layers.append(GlobalMean())
        elif kind == "linear":
            layers.append(torch.nn.Linear(layer["inputs"], layer["outputs"], bias=layer["bias"]))
        else:
            raise ValueError(kind)
    network = torch.nn.Sequential(*layers)
    network.load_state_dict(tensors)
    return network


if __name__ == "__main__":
    tensors, texts = read(sys.argv[1])
    network = build(json.loads(texts["architecture"]), tensors).eval()
    with torch.no_grad():
        write(sys.argv[3], "output", network(read(sys.argv[2])[0]["input"]))

"""Reads a network that `toPlain` gave, out of its safetensors file, into torch.nn, and computes it:

    python3 export_agreement.py network.safetensors input.safetensors output.safetensors

With one argument it writes into that file the states of the paper's layers, written from their equations, with an input and what they make of it.
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


def write(path, tensors):
    header, data = {}, b""
    for name, tensor in tensors.items():
        values = tensor.detach().flatten().tolist()
        begin = len(data)
        data += struct.pack(f"<{len(values)}f", *values)
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [begin, len(data)]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)


class GlobalMean(torch.nn.Module):
    def forward(self, x):
        return x.flatten(2).mean(2)


class BatchNorm(torch.nn.BatchNorm2d):
    """Of images and of features alone."""

    def _check_input_dim(self, x):
        pass


class Residual(torch.nn.Module):
    def __init__(self, layers, shortcut):
        super().__init__()
        self.layers, self.shortcut = layers, shortcut

    def forward(self, x):
        return self.layers(x) + self.shortcut(x)


def sequence(architecture):
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
            layers.append(torch.nn.GroupNorm(layer.get("groups", 1), channels, eps=layer["eps"], affine=False))
        elif kind == "batchNorm":
            layers.append(BatchNorm(layer["channels"], eps=layer["eps"]))
        elif kind == "residual":
            layers.append(Residual(sequence(layer["layers"]), sequence(layer["shortcut"])))
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
    return torch.nn.Sequential(*layers)


class WeightSharing(torch.nn.Module):
    """W[o, g, i, n] = sum over m of R[g, n, m] w[o, i, m], R = identity and Sinkhorn of the logits; lifting for elements_in = 1."""

    def __init__(self, channels_in, channels_out, side, elements, elements_in):
        super().__init__()
        d = elements_in * side**2
        self.side, self.elements, self.elements_in = side, elements, elements_in
        self.weight = torch.nn.Parameter(torch.randn(channels_out, channels_in, d) / d**0.5)
        self.bias = torch.nn.Parameter(torch.randn(channels_out, 1, 1, 1))
        self.representations = torch.nn.Parameter(3 * torch.rand(elements - 1, d, d))

    def forward(self, x):
        logits = self.representations
        for _ in range(20):
            logits = logits - logits.logsumexp(-1, keepdim=True)
            logits = logits - logits.logsumexp(-2, keepdim=True)
        stack = torch.cat([torch.eye(logits.shape[-1], dtype=logits.dtype)[None], logits.exp()])
        kernel = torch.einsum("gnm,oim->ogin", stack, self.weight)
        out, g, cin, _ = kernel.shape
        kernel = kernel.reshape(out * g, cin * self.elements_in, self.side, self.side)
        y = torch.nn.functional.conv2d(x.flatten(1, -3), kernel)
        return y.unflatten(1, (out, g)) + self.bias


def paper(path):
    torch.manual_seed(1)
    lift, conv = WeightSharing(2, 3, 5, 4, 1).double(), WeightSharing(3, 4, 3, 4, 4).double()
    x = torch.randn(2, 2, 12, 12).double()
    states = {f"{name}.{key}": value for name, layer in {"lift": lift, "conv": conv}.items() for key, value in layer.state_dict().items()}
    write(path, {"input": x, "output": conv(torch.relu(lift(x))), **states})


if __name__ == "__main__":
    if len(sys.argv) == 2:
        paper(sys.argv[1])
        sys.exit()
    tensors, texts = read(sys.argv[1])
    network = sequence(json.loads(texts["architecture"]))
    network.load_state_dict(tensors)
    network.eval()
    with torch.no_grad():
        write(sys.argv[3], {"output": network(read(sys.argv[2])[0]["input"])})

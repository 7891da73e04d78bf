"""PyTorch, eager, as a rival of `birkhoff bench`; the protocol stands in bench/README.md. Argument: number of threads."""

import json
import sys
import time

answers = sys.stdout
sys.stdout = sys.stderr


def answer(**fields):
    print(json.dumps(fields), file=answers, flush=True)


try:
    import numpy as np
    import torch
    from torch.nn import functional
except ImportError as error:
    answer(id=0, unavailable=f"not installed: {error} (Debian: python3-torch; another Python: BIRKHOFF_PYTHON)")
    sys.exit(0)

try:
    from scipy.sparse.csgraph import minimum_spanning_tree
except ImportError:  # Only the trees need it.
    minimum_spanning_tree = None


def sinkhorn(logits, iterations):
    for _ in range(iterations):
        logits = logits - torch.logsumexp(logits, -1, keepdim=True)
        logits = logits - torch.logsumexp(logits, -2, keepdim=True)
    return logits.exp()


def hyper_connection(logits, scale=None, bias=None, streams=None, *, iterations, eps=1e-6):
    x = logits if scale is None else scale * logits + bias
    x = torch.softmax(x, -1) + eps
    x = x / (x.sum(-2, keepdim=True) + eps)
    for _ in range(iterations - 1):
        x = x / (x.sum(-1, keepdim=True) + eps)
        x = x / (x.sum(-2, keepdim=True) + eps)
    return x if streams is None else x @ streams


def matmul(a, b, bias=None, *, transposeB, activation):
    if transposeB and bias is not None:
        x = torch.nn.functional.linear(a, b, bias)
    else:
        x = a @ (b.transpose(-1, -2) if transposeB else b)
        x = x if bias is None else x + bias
    return x if activation == "none" else getattr(torch.nn.functional, activation)(x)


def expand_kernel(matrices, w, *, iterations=0):
    """The identity in front, then all elements at once, in the order that a convolution takes."""
    learned = sinkhorn(matrices, iterations) if iterations else matrices
    identity = torch.eye(learned.shape[1], device=learned.device).unsqueeze(0)
    expanded = torch.einsum("gnm,oim->ogin", torch.cat([identity, learned]), w.flatten(2))
    return expanded.reshape(expanded.shape[0] * expanded.shape[1], -1, *w.shape[-2:])


def expand_factorised(group, space, w):
    learned = torch.einsum("gab,gnm,oibm->ogian", group, space, w.flatten(3))
    expanded = torch.cat([w.flatten(3).unsqueeze(1), learned], 1)
    return expanded.reshape(expanded.shape[0] * expanded.shape[1], -1, *w.shape[-2:])


def weight_sharing(x, logits, w, bias, *, iterations, padding=None):
    weight = expand_kernel(logits, w, iterations=iterations)
    group = weight.shape[0] // w.shape[0]
    images = x.flatten(1, 2) if w.dim() == 5 else x
    y = functional.conv2d(images, weight, padding=(w.shape[-1] - 1) // 2 if padding is None else padding)
    return y.unflatten(1, (w.shape[0], group)) + bias.reshape(-1, 1, 1, 1)


def digit_network(x, *parameters, iterations, layers):
    for i in range(layers):
        x = weight_sharing(x, *parameters[3 * i : 3 * i + 3], iterations=iterations, padding=0)
        x = functional.relu(functional.layer_norm(x, x.shape[1:]))
    return functional.linear(x.mean((2, 3, 4)), *parameters[3 * layers :])


def digit_training(x, labels, *parameters, iterations, layers):
    """The loss of every digit."""
    return functional.cross_entropy(digit_network(x, *parameters, iterations=iterations, layers=layers), labels.long(), reduction="none")


def relative_projection(x, anchors, *, similarity, normalise, p=None):
    if normalise == "standardise":
        mean, scale = anchors.detach().mean(0), anchors.detach().std(0, unbiased=False)
        x, anchors = (x - mean) / scale, (anchors - mean) / scale
    if similarity != "cosine":
        return -torch.cdist(x, anchors, p={"l1": 1, "l2": 2, "linf": float("inf"), "lp": p}[similarity])
    return functional.normalize(x) @ functional.normalize(anchors).T


def densification(points, *, beta):
    """SciPy finds the trees, and gradients flow through the lengths of their edges."""
    distances = torch.cdist(points, points)
    edges = [minimum_spanning_tree(cloud).nonzero() for cloud in distances.detach().cpu().numpy()]
    cloud = np.repeat(np.arange(len(edges)), [len(rows) for rows, _ in edges])
    rows, columns = (np.concatenate(ends) for ends in zip(*edges))
    return (distances[cloud, rows, columns] - beta).abs().sum()


OPERATIONS = {
    "sinkhorn": sinkhorn,
    "hyperConnection": hyper_connection,
    "matmul": matmul,
    "conv1d": functional.conv1d,
    "conv2d": functional.conv2d,
    "conv3d": functional.conv3d,
    "expandKernel": expand_kernel,
    "expandFactorised": expand_factorised,
    "weightSharing": weight_sharing,
    "digitNetwork": digit_network,
    "digitTraining": digit_training,
    "relativeProjection": relative_projection,
}
if minimum_spanning_tree is not None:
    OPERATIONS["densification"] = densification


class Case:
    def __init__(self, request):
        parameters = dict(request["case"])
        self.function = OPERATIONS[parameters.pop("operation")]
        self.parameters = parameters
        self.gpu = request["gpu"]

        def load(tensor):
            values = np.fromfile(tensor["file"], dtype=np.float32).reshape(tensor["shape"])
            return torch.from_numpy(values).to("cuda" if self.gpu else "cpu")

        self.inputs = [load(tensor).requires_grad_(tensor["gradient"]) for tensor in request["inputs"]]
        self.leaves = [tensor for tensor in self.inputs if tensor.requires_grad]
        self.cotangent = load(request["cotangent"])
        self.optimizer = None

    def step(self, name):
        if name == "forward":
            with torch.no_grad():
                return [self.function(*self.inputs, **self.parameters)]
        result = self.function(*self.inputs, **self.parameters)
        return [result.detach(), *torch.autograd.grad(result, self.leaves, self.cotangent)]

    def train(self):
        if self.optimizer is None:
            self.optimizer = torch.optim.AdamW(self.leaves)
        self.function(*self.inputs, **self.parameters).backward(self.cotangent)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def finish(self):
        if self.gpu:
            torch.cuda.synchronize()


def serve(request, case):
    if request["do"] == "prepare":
        if request["case"]["operation"] not in OPERATIONS:
            answer(id=request["id"], unavailable=f"it has no {request['case']['operation']}")
        elif request["gpu"] and not torch.cuda.is_available():
            answer(id=request["id"], unavailable="this PyTorch has no GPU")
        else:
            case = Case(request)
            answer(id=request["id"])
    elif request["do"] == "run":
        case.finish()
        start = time.perf_counter()
        for _ in range(request["steps"]):
            case.train() if request["pass"] == "training step" else case.step(request["pass"])
        case.finish()
        answer(id=request["id"], ms=(time.perf_counter() - start) * 1e3)
    else:
        results = case.step(request["pass"])
        for i, tensor in enumerate(results):
            tensor.cpu().contiguous().numpy().tofile(f"{request['prefix']}{i}.f32")
        answer(id=request["id"], sizes=[tensor.numel() for tensor in results])
    return case


torch.set_num_threads(int(sys.argv[1]))
answer(id=0, ready=f"PyTorch {torch.__version__}, eager, {torch.get_num_threads()} threads")
current = None
for line in sys.stdin:
    request = json.loads(line)
    try:
        current = serve(request, current)
    except Exception as error:  # Whatever it is, the other side must hear of it.
        answer(id=request["id"], error=f"{type(error).__name__}: {error}")

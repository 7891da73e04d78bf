"""NumPy and SciPy beside the host side of relative representations: `make <folder>` writes problems, `check <folder>` compares. Needs numpy and scipy."""

import json
import sys
from pathlib import Path

import numpy as np
from scipy import stats

STEP, FOLDER = sys.argv[1], Path(sys.argv[2])
SHAPES = [(40, 6, 6), (60, 9, 5), (60, 5, 9), (12, 20, 20), (200, 64, 48)]
STUDENT = {
    "cdf": [[t, v] for v in (0.5, 1, 2, 3, 4, 10, 14, 29, 100, 1e4) for t in (-40, -5, -1, -1e-3, 0.1, 1, 3, 30, 1e4)],
    "quantile": [[p, v] for v in (0.5, 1, 2, 4, 14, 100, 1e4) for p in (1e-12, 1e-4, 0.025, 0.3, 0.8, 0.975, 0.9999)],
}


def make():
    r = np.random.default_rng(7)
    for kind in "f2 f4 f8 i1 i2 i4 i8 u1 u2 u4 u8 b1".split():
        values = r.integers(0, 2, (3, 4, 2)) if kind == "b1" else r.normal(size=(3, 4, 2)) * 50 if kind[0] == "f" else r.integers(0, 127, (3, 4, 2))
        for order in "CF":
            for endian in "<>":
                for version in ((1, 0), (2, 0), (3, 0)):
                    array = np.asarray(values.astype(endian + kind), order=order)
                    with open(FOLDER / f"type.{kind}.{order}.{'little' if endian == '<' else 'big'}.{version[0]}.npy", "wb") as file:
                        np.lib.format.write_array(file, array, version=version)
    for n, d, e in SHAPES:
        for kind in ("f4", "f8"):
            x = r.normal(size=(n, d)) * r.uniform(0.5, 3, d) + r.normal(size=d)
            y = x @ r.normal(size=(d, e)) + r.normal(size=(n, e)) + 4
            np.save(FOLDER / f"{n}x{d}x{e}.{kind}.x.npy", x.astype(kind))
            np.save(FOLDER / f"{n}x{d}x{e}.{kind}.y.npy", y.astype(kind))
    pairs = [[r.normal(size=n).tolist(), r.normal(0.5, 2, n).tolist()] for n in (2, 5, 15, 100)]
    effects = [[s, n] for s in (0.1, 3) for n in (2, 5, 15, 200)]
    (FOLDER / "student.json").write_text(json.dumps({**STUDENT, "tests": pairs, "effects": effects}))


def orthogonal(cross):
    """Padded with zeros to a square, and cut again."""
    side = max(cross.shape)
    square = np.zeros((side, side))
    square[: cross.shape[0], : cross.shape[1]] = cross
    u, _, vt = np.linalg.svd(square)
    return (u @ vt)[: cross.shape[0], : cross.shape[1]]


def align(x, y, name, normalise, rcond):
    centre = normalise == "standardise" or name in ("affine", "ridge")
    mx, my = (x.mean(0), y.mean(0)) if centre else (np.zeros(x.shape[1]), np.zeros(y.shape[1]))
    sx, sy = (x.std(0), y.std(0)) if normalise == "standardise" else (np.ones(x.shape[1]), np.ones(y.shape[1]))
    a, b = (x - mx) / sx, (y - my) / sy
    if name == "procrustes":
        w = orthogonal(a.T @ b)
    elif name in ("ridge", "shrinkage"):
        gram = a.T @ a
        gram = gram + 3 * np.eye(len(gram)) if name == "ridge" else 0.8 * gram + 0.2 * np.trace(gram) / len(gram) * np.eye(len(gram))
        w = np.linalg.solve(gram, a.T @ b)
    else:
        w = np.linalg.lstsq(a, b, rcond=rcond)[0]
        if name == "linearOrthogonal":
            w = orthogonal(w)
    weight = w * sy / sx[:, None]
    return weight, my - mx @ weight


def linear(x):
    return x @ x.T


def gaussian(bandwidth):
    def gram(x):
        d = squares(x, x)
        return np.exp(-d / (2 * (bandwidth * np.median(np.sqrt(d[np.triu_indices(len(x), 1)]))) ** 2))

    return gram


def hsic(x, y, unbiased, kernel=linear):
    n, o = len(x), np.ones(len(x))
    k, l = kernel(x), kernel(y)
    if not unbiased:
        h = np.eye(n) - 1 / n
        return np.trace(k @ h @ l @ h) / (n - 1) ** 2
    np.fill_diagonal(k, 0)
    np.fill_diagonal(l, 0)
    return (np.trace(k @ l) + (o @ k @ o) * (o @ l @ o) / ((n - 1) * (n - 2)) - 2 / (n - 2) * (o @ k @ l @ o)) / (n * (n - 3))


def cka(x, y, unbiased, kernel=linear):
    return hsic(x, y, unbiased, kernel) / np.sqrt(hsic(x, x, unbiased, kernel) * hsic(y, y, unbiased, kernel))


def principal(x, share):
    u, s, _ = np.linalg.svd(x - x.mean(0), full_matrices=False)
    return u[:, : np.searchsorted(np.cumsum(s**2) / np.sum(s**2), share) + 1]


def squares(x, y):
    return ((x[:, None, :] - y[None, :, :]) ** 2).sum(-1)


def unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def jaccard(x, y, k):
    def near(z):
        d = squares(z, z)
        np.fill_diagonal(d, np.inf)
        return [set(row[:k]) for row in np.argsort(d, axis=1, kind="stable")]

    return np.mean([len(a & b) / len(a | b) for a, b in zip(near(x), near(y))])


def mrr(x, y):
    d = squares(unit(x), unit(y))
    return np.mean(1 / (d <= np.diag(d)[:, None]).sum(1))


def check():
    worst = {}

    def compare(what, got, want, tolerance):
        got, want = np.asarray(got, float), np.asarray(want, float)
        error = np.inf if got.shape != want.shape else np.max(np.abs(got - want), initial=0) / max(np.max(np.abs(want), initial=0), 1e-300)
        count, most, _ = worst.get(what, (0, 0, 0))
        worst[what] = (count + 1, max(most, error), tolerance)

    for path in sorted(FOLDER.glob("type.*.npy")):
        want, got = np.load(path), np.load(FOLDER / path.name.replace("type.", "back."))
        kind = {"f2": "f4", "b1": "u1"}.get(path.name.split(".")[1], path.name.split(".")[1])
        same = got.shape == want.shape and got.dtype == np.dtype(kind) and np.array_equal(got, want.astype(kind))
        compare("files, exactly", [0 if same else 1], [0], 0)

    results, asked = (json.loads((FOLDER / name).read_text()) for name in ("results.json", "student.json"))
    for name, got in results["spaces"].items():
        given = np.load(FOLDER / f"{name}.x.npy")
        rcond = max(given.shape) * np.finfo(given.dtype).eps
        x, y = given.astype(float), np.load(FOLDER / f"{name}.y.npy").astype(float)
        out = lambda part: np.load(FOLDER / f"{name}.{part}.out.npy")
        for normalise in ("none", "standardise"):
            for method in ("procrustes", "linear", "linearOrthogonal", "affine", "ridge", "shrinkage"):
                # Fewer anchors than dimensions leave an orthogonal map open in what they do not span.
                if method in ("procrustes", "linearOrthogonal") and len(x) <= min(x.shape[1], y.shape[1]):
                    continue
                weight, bias = align(x, y, method, normalise, rcond)
                compare(f"alignment, {method}", out(f"{normalise}.{method}.weight"), weight, 1e-10)
                compare(f"alignment, {method}", out(f"{normalise}.{method}.bias"), bias, 1e-10)
        compare("inverse projection", out("inverse"), np.linalg.pinv(unit(x).T, rcond=rcond), 1e-10)
        u, v = principal(x, 0.9), principal(y, 0.9)
        compare("SVCCA", out("correlations"), np.linalg.svd(u.T @ v)[1], 1e-10)
        compare("HSIC", [got["hsic"], got["unbiasedHsic"]], [hsic(x, y, False), hsic(x, y, True)], 1e-9)
        compare("CKA", [got["cka"], got["unbiasedCka"]], [cka(x, y, False), cka(x, y, True)], 1e-9)
        rbf = [cka(x, y, False, gaussian(1)), cka(x, y, False, gaussian(0.5)), cka(x, y, True, gaussian(1))]
        compare("CKA, Gaussian", got["rbf"], rbf, 1e-9)
        compare("neighbourhoods", [got["jaccard"], got["euclideanJaccard"]], [jaccard(unit(x), unit(y), 5), jaccard(x, y, 5)], 1e-12)
        compare("mean reciprocal rank", got["mrr"], mrr(x, y if x.shape == y.shape else x), 1e-12)
    for got, (t, v) in zip(results["cdf"], asked["cdf"]):
        compare("Student's distribution", got, stats.t.cdf(t, v), 1e-11)
    for got, (p, v) in zip(results["quantile"], asked["quantile"]):
        compare("Student's quantiles", got, stats.t.ppf(p, v), 1e-11)
    for got, (a, b) in zip(results["tests"], asked["tests"]):
        test = stats.ttest_rel(a, b)
        low, high = test.confidence_interval(0.95)
        compare("paired tests", [got["t"], got["p"], *got["interval"]], [test.statistic, test.pvalue, low, high], 1e-10)
    for got, (s, n) in zip(results["effects"], asked["effects"]):
        compare("detectable effects", got, (stats.t.ppf(0.975, n - 1) + stats.t.ppf(0.8, n - 1)) * s / np.sqrt(n), 1e-11)

    failures = 0
    for what, (count, error, tolerance) in worst.items():
        failures += not error <= tolerance
        print(f"{what:32} {count:4} comparisons   largest relative difference {error:.1e}{'' if error <= tolerance else f', more than {tolerance}'}")
    print("all agree" if failures == 0 else f"{failures} do not agree")
    sys.exit(failures > 0)


{"make": make, "check": check}[STEP]()

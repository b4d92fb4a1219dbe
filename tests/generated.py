"""Generated images, labels, weights and parameters, most of them unusable."""
import math
import os
import re
import tempfile
import warnings
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse
import torch
from estimators import ESTIMATORS, SMALL, small
from hypothesis import strategies as st
from sklearn.base import clone

import fmnist_sk

DTYPES = ("uint8", "int8", "int16", ">i2", "int32", "int64", "uint16", "uint64", "bool", "float16", "float32", ">f4",
          "float64", "longdouble", "complex64", "object", "U3", "S3", "M8[s]", "m8[s]", "V4")
VALUES = {
    "random": lambda rng, shape: rng.integers(0, 256, shape),
    "noise": lambda rng, shape: rng.normal(size=shape),
    "zeros": lambda rng, shape: np.zeros(shape),
    "constant": lambda rng, shape: np.full(shape, 7),
    "one pixel": lambda rng, shape: np.eye(1, math.prod(shape)).reshape(shape) if math.prod(shape) else np.zeros(shape),
    "huge": lambda rng, shape: rng.normal(size=shape) * 1e30,
    "largest": lambda rng, shape: np.where(rng.random(shape) < 0.5, 3.4e38, -3.4e38),
    "too large": lambda rng, shape: rng.random(shape) * 1e300,
    "tiny": lambda rng, shape: rng.random(shape) * 1e-42,
    "shifted": lambda rng, shape: 1e7 + rng.random(shape),
    "NaN": lambda rng, shape: np.where(rng.random(shape) < 0.1, np.nan, 1.0),
    "infinity": lambda rng, shape: np.where(rng.random(shape) < 0.1, -np.inf, 1.0),
    "missing": lambda rng, shape: np.where(rng.random(shape) < 0.1, None, 1.0),
}


def _strided(X):
    wide = np.zeros((*X.shape[:-1], 2 * X.shape[-1]), X.dtype)
    wide[..., ::2] = X
    return wide[..., ::2]


def _memmap(X):
    folder = tempfile.mkdtemp()
    path = Path(folder) / "X.npy"
    np.save(path, X, allow_pickle=False)
    return np.load(path, mmap_mode="r")


def _frame(dtype=None):
    def make(X):
        frame = pd.DataFrame(X.reshape(len(X), -1))
        return frame if dtype is None else frame.astype(dtype)
    return make


def _tensor(change=lambda X: X):
    return lambda X: change(torch.from_numpy(np.ascontiguousarray(X)))


def _read_only(X):
    X.flags.writeable = False
    return X


CONTAINERS = {
    "array": lambda X: X, "list": lambda X: X.tolist(), "tuple": lambda X: tuple(X), "Fortran": np.asfortranarray,
    "reversed": lambda X: X[::-1, ..., ::-1], "strided": _strided, "read-only": _read_only, "memmap": _memmap,
    "masked": lambda X: np.ma.masked_array(X, mask=X == 7), "matrix": lambda X: np.matrix(X.reshape(len(X), -1)),
    "DataFrame": _frame(), "nullable integers": _frame("Int64"), "nullable numbers": _frame("Float32"),
    "categories": _frame("category"), "sparse": lambda X: scipy.sparse.csr_array(X.reshape(len(X), -1)),
    "Series": lambda X: pd.Series(list(X)), "Index": lambda X: pd.Index(X.ravel()),
    "tensor": _tensor(), "needs gradients": _tensor(lambda X: X.float().requires_grad_()),
    "half": _tensor(lambda X: X.half()), "bfloat16": _tensor(lambda X: X.bfloat16()),
    "transposed": _tensor(lambda X: X.transpose(-1, -2)), "meta": _tensor(lambda X: X.to("meta")),
    "sparse tensor": _tensor(lambda X: X.to_sparse()), "parameter": _tensor(lambda X: torch.nn.Parameter(X.float())),
    "list of tensors": _tensor(list), "negative view": _tensor(lambda X: torch._neg_view(X.float())),
    "conjugate": _tensor(lambda X: X.to(torch.complex64).conj().imag),
    **({"CUDA": _tensor(lambda X: X.cuda())} if torch.cuda.is_available() else {}),
}
OTHERS = [None, 3, [[10**400, 1], [2, 3]], np.ma.masked_array(np.ones((9, 16)), np.eye(9, 16)),
          "images", b"", [], {}, set(), object(), np.float32(1), iter([[1]]), [[1, 2], [3]], {"X": [1]},
          range(9), lambda: 1, np.zeros((2, 2)), float("nan"), [np.zeros((2, 2)), np.zeros((3, 3))], torch.zeros(()),
          pd.NA]

LABELS = {
    "integers": lambda codes: codes, "negative": lambda codes: -codes - 1, "large": lambda codes: codes + 2**62,
    "unsigned": lambda codes: codes.astype(np.uint64) + 2**63, "floats": lambda codes: codes.astype(float),
    "halves": lambda codes: codes + 0.5, "text": lambda codes: np.array([f"class {code}" for code in codes]),
    "bytes": lambda codes: np.array([b"%d" % code for code in codes]), "bool": lambda codes: codes % 2 == 0,
    "dates": lambda codes: codes.astype("M8[D]"), "durations": lambda codes: codes.astype("m8[s]"),
    "objects": lambda codes: codes.astype(object), "text objects": lambda codes: np.array([*map(str, codes)], object),
    "mixed": lambda codes: np.array([code if code % 2 else str(code) for code in codes], object),
    "missing": lambda codes: np.array([None if code == 1 else "a" for code in codes], object),
    "NaN": lambda codes: np.where(codes == 1, np.nan, codes), "one class": lambda codes: np.zeros(len(codes)),
    "all different": lambda codes: np.arange(len(codes)), "column": lambda codes: codes[:, None],
    "one-hot": lambda codes: np.eye(5)[codes % 5], "too short": lambda codes: codes[:-1],
    "too long": lambda codes: np.append(codes, 0), "none": lambda codes: None, "list": lambda codes: codes.tolist(),
    "Series": lambda codes: pd.Series(codes, index=range(5, 5 + len(codes))),
    "categories": lambda codes: pd.Series(codes).astype(str).astype("category"),
    "nullable": lambda codes: pd.array(codes, dtype="Int64"), "strings": lambda codes: pd.array([*map(str, codes)]),
    "nullable missing": lambda codes: pd.array([None if code == 1 else code for code in codes], dtype="Int64"),
    "tensor": torch.from_numpy, "float tensor": lambda codes: torch.from_numpy(codes).float().requires_grad_(),
    "half tensor": lambda codes: torch.from_numpy(codes).half(),
    "bool tensor": lambda codes: torch.from_numpy(codes) > 0,
    "meta tensor": lambda codes: torch.from_numpy(codes).to("meta"), "scalar": lambda codes: 3,
    "set": lambda codes: set(codes.tolist()), "tuples": lambda codes: [(int(code), 1) for code in codes],
    "complex": lambda codes: codes * 1j, "records": lambda codes: codes.astype([("a", int)]),
}
WEIGHTS = {
    "none": lambda n, rng: None, "ones": lambda n, rng: np.ones(n), "random": lambda n, rng: rng.random(n),
    "counts": lambda n, rng: rng.integers(0, 4, n), "zeros": lambda n, rng: np.zeros(n),
    "list": lambda n, rng: [1.0] * n,
    "negative": lambda n, rng: rng.random(n) - 0.5, "NaN": lambda n, rng: np.full(n, np.nan),
    "infinite": lambda n, rng: np.full(n, np.inf), "huge": lambda n, rng: np.full(n, 1e308),
    "tiny": lambda n, rng: np.full(n, 1e-320), "too long": lambda n, rng: np.ones(n + 1), "number": lambda n, rng: 2.0,
    "text": lambda n, rng: ["a"] * n, "tensor": lambda n, rng: torch.rand(n, requires_grad=True),
    "column": lambda n, rng: np.ones((n, 1)), "bool": lambda n, rng: rng.random(n) < 0.5,
    "Series": lambda n, rng: pd.Series(rng.random(n), index=range(n, 0, -1)),
    "uneven": lambda n, rng: 10.0 ** rng.integers(-300, 300, n),
}

# Values that a parameter may be set to by mistake; none that asks for hours of work.
STRANGE = [
    None, True, False, 0, 1, 2, 3, 7, -1, 0.0, 0.5, 1.0, 1.5, -0.5, 1e-300, 1e300, -0.0, math.nan, math.inf, -math.inf,
    1j, 10**30, 10**400, Fraction(1, 3), np.int64(2), np.float32(0.25), range(2),
    "", "auto", "sgd", "light", "fashion", "cosine", "valid_loss", "bf16", "cpu", "meta", "cuda:7", "mirror", "8C3",
    "MP2-MP2", "nonsense", "\0", b"sgd",
    (), [], {}, set(), (1,), (2, 3), (8, 8), (1, 8, 8), (0.1, 0.4), [1, 2], ("mirror", "shift"), ("mirror", 3),
    {0: 2.0}, {"a": 1}, {0: -1}, np.array([1.0, 2.0]), np.zeros(0), torch.tensor(2), torch.ones(3),
    object(), object, int, len, torch.nn.ReLU, torch.nn.ReLU(), torch.optim.Adam, fmnist_sk.RandomCrop(padding=1),
    [fmnist_sk.MixUp()], fmnist_sk.Cosine(), fmnist_sk.FocalLoss(), fmnist_sk.ImageScaler(),
]
LIKELY = {      # by the type of a parameter's default
    bool: [True, False], int: [1, 2, 3, 5, 20], float: [0.0, 0.01, 0.1, 0.5, 0.9, 1.0, 2.0],
    tuple: [(1,), (2, 3), (0.1, 0.4)],
    str: ["sgd", "adamw", "cosine", "one_cycle", "mse", "focal", "valid_loss", "fp32", "bf16", "8C3-16N", "8C3-MP2"],
    type(None): [None, 0.1, 0.5, "fashion", "strong", "balanced", "mirror", 2, (8, 8)],
}


class Case:
    """What a case is made of, with a text that names all of it."""

    def __init__(self, text, make):
        self.text, self.make = text, make

    def __repr__(self):
        return self.text


@st.composite
def images(draw):
    """A case that makes X, mostly of a form that could be images."""
    if draw(st.integers(0, 19)) == 0:
        index = draw(st.integers(0, len(OTHERS) - 1))
        return Case(f"OTHERS[{index}]", lambda: OTHERS[index])
    n, height, width = draw(st.integers(0, 24)), draw(st.integers(0, 10)), draw(st.integers(1, 10))
    if draw(st.booleans()):
        height = width = 8
        n = max(n, 6)
    size = height, width
    shape = draw(st.sampled_from([(n, height * width), (n, *size), (n, 1, *size), (n, 3, *size), (n, *size, 3),
                                  (n, 2, *size), (n,), (n, 1, 1, *size), (n, 0)]))
    dtype, values = draw(st.sampled_from(DTYPES)), draw(st.sampled_from(list(VALUES)))
    if draw(st.booleans()):
        dtype = draw(st.sampled_from(["uint8", "float32", "float64"]))
        values = draw(st.sampled_from(["random", "constant"]))
    container, seed = draw(st.sampled_from(list(CONTAINERS))), draw(st.integers(0, 3))

    def make():
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            array = VALUES[values](np.random.default_rng(seed), shape)
            try:
                return CONTAINERS[container](array.astype(dtype))
            except Exception:               # such as a tensor of texts: there is no such thing
                return array

    return Case(f"{container} {shape} {dtype} of {values}, seed {seed}", make)


@st.composite
def data(draw):
    """A case that makes X, y and weights."""
    X = draw(images())
    usual = ["integers", "text", "bool", "tensor"]
    kind = draw(st.sampled_from(list(LABELS) if draw(st.booleans()) else usual))
    weighted = draw(st.sampled_from(list(WEIGHTS)) if draw(st.integers(0, 3)) == 0 else st.just("none"))
    n_classes = draw(st.sampled_from([2, 3, 7]))

    def make():
        made = X.make()
        shape = getattr(made, "shape", None)
        n = shape[0] if shape is not None and len(shape) else (len(made) if isinstance(made, (list, tuple)) else 6)
        codes = np.arange(n) % n_classes
        try:
            y = LABELS[kind](codes)
        except Exception:
            y = codes
        return made, y, WEIGHTS[weighted](n, np.random.default_rng(0))

    return Case(f"X: {X}; y: {kind}, {n_classes} classes; weights: {weighted}", make)


@st.composite
def changes(draw, name, most):
    """A case that makes strange parameters of the small estimator of this name."""
    defaults = small(name).get_params(deep=True)
    known = sorted(key for key in defaults                                  # skorch's callbacks have their own rules
                   if not re.search("checkpoint$|verbose$|callbacks__", key))
    chosen = {}
    for key in draw(st.lists(st.sampled_from(known), max_size=most, unique=True)) if known else ():
        likely = LIKELY.get(type(defaults[key]))
        pool = likely if likely and draw(st.integers(0, 2)) else STRANGE
        chosen[key] = pool, draw(st.integers(0, len(pool) - 1))
    return Case(", ".join(f"{key}={pool[index]!r}" for key, (pool, index) in chosen.items()),
                lambda: {key: pool[index] for key, (pool, index) in chosen.items()})


@st.composite
def estimators(draw, names=tuple(ESTIMATORS), most=3):
    """A case that makes a small estimator with some strange parameters."""
    name = draw(st.sampled_from(names))
    change = draw(changes(name, most))
    few = {"max_epochs": 1} if "max_epochs" in SMALL[name] else {}
    if "frozen_epochs" in SMALL[name]:
        few = {"max_epochs": 2, "frozen_epochs": 1}

    def make():
        estimator = clone(small(name, **few))           # not the nested one that all share
        if "estimator" in SMALL[name]:
            estimator.set_params(estimator__max_epochs=1)
        return estimator.set_params(**change.make())

    return Case(f"{name}({change})", make)


def _file(folder):
    (folder / "file").write_bytes(b"")
    return folder / "file"


FOLDERS = {
    "folder": lambda folder: folder, "text": str, "bytes": lambda folder: os.fsencode(folder), "file": _file,
    "in a file": lambda folder: _file(folder) / "a", "deep": lambda folder: folder / "a" / "b", "empty": lambda _: "",
    "relative": lambda _: "a", "null": lambda _: "a\0b", "long": lambda _: "a" * 300, "nobody": lambda _: "~nobody_/a",
    "wild": lambda folder: folder / "[a]*?", "line": lambda folder: folder / "a\nb", "odd": lambda _: "\udcff",
    "device": lambda _: "/dev/null", "system": lambda _: "/proc/a", **{repr(value): lambda _, value=value: value
                                                                     for value in (3, True, 1.5, (), {}, object)},
}

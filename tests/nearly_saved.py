"""Files that nearly are what save() writes: JSON with a few values exchanged, and arrays of other shapes and types."""
import copy
import functools
import json
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import safetensors.torch
import saved_forms
import torch
from fuzzing import Failure
from hypothesis import strategies as st
from safetensors import safe_open

from fmnist_sk import load, save
from fmnist_sk._storage.document import digest_of

SECONDS, MIB = 2, 300
NAMES = ["predict", "save_params", "tofile", "__setstate__", "SVC", "KFold", "StandardScaler", "Pipeline", "numpy.sqrt",
         "os.system", "drop", "rbf", "precomputed", "softmax", "1", ""]
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(-3, 100), st.sampled_from([10**6, 10**18, -10**9, 2**63]),
                    st.floats(-10, 10), st.sampled_from(NAMES))
VALUES = st.one_of(
    SCALARS, st.lists(SCALARS, max_size=3), st.builds(lambda value: {"tuple": value}, st.lists(SCALARS, max_size=3)),
    st.sampled_from([{"dict": []}, {"float": "nan"}, {"float": "inf"}, {"classifier": 0}, {"classifier": 1},
                     {"number": 3, "dtype": "<f4"}, {"number": 10**30, "dtype": "<i4"}, {"function": "numpy.exp"},
                     {"class": "fmnist_sk.networks.convnet.ConvNet"}, {"object": "StandardScaler", "params": {}},
                     {"object": "FrozenEstimator", "params": {"estimator": {"classifier": 0}}},
                     {"array": ["a", "b", "c"], "shape": [3], "dtype": "<U1"},
                     {"array": [], "shape": [10**9, 0], "dtype": "O"}]))
OF_JSON = ["value", "copy", "swap", "delete", "double", "add"]
CHANGES = st.one_of(
    st.tuples(st.sampled_from(OF_JSON), st.integers(0, 10**6),
              st.integers(0, 10**6), VALUES),
    st.tuples(st.sampled_from(["shape", "type", "number", "cut", "longer", "transposed"]), st.integers(0, 10**6),
              st.integers(0, 10**6), st.sampled_from([-10**6, -1, 0, 1, 7, 64, 10**6, 2**31])))
CASES = st.tuples(st.sampled_from(saved_forms.NAMES), st.lists(CHANGES, min_size=1, max_size=3))


@functools.cache
def saved(name):
    """Content and tensors of the file of a fitted estimator."""
    with tempfile.TemporaryDirectory() as folder, safe_open(
            save(saved_forms.fitted(name), Path(folder) / "m.safetensors"), "pt") as file:
        content = json.loads(file.metadata()["fmnist_sk"])
        return content, {key: file.get_tensor(key).clone() for key in file.keys()}          # noqa: SIM118


def places(content):
    """Every place in the JSON, as a container and a key."""
    found, parts = [], [content]
    while parts:
        part = parts.pop()
        items = part.items() if isinstance(part, dict) else enumerate(part)
        for key, item in items:
            found.append((part, key))
            if isinstance(item, (dict, list)):
                parts.append(item)
    return found


def change_json(content, kind, first, second, value):
    found = places(content)
    (container, key), (other, other_key) = (found[place % len(found)] for place in (first, second))
    if kind == "value":
        container[key] = copy.deepcopy(value)
    elif kind == "copy":
        container[key] = copy.deepcopy(other[other_key])
    elif kind == "swap":
        container[key], other[other_key] = copy.deepcopy(other[other_key]), copy.deepcopy(container[key])
    elif kind == "delete":
        del container[key]
    elif isinstance(container[key], list):
        container[key] += copy.deepcopy(container[key]) if kind == "double" else [copy.deepcopy(value)]
    elif isinstance(container[key], dict):
        container[key]["more"] = copy.deepcopy(value)


def change_tensor(tensors, kind, first, second, value):
    key = sorted(tensors)[first % len(tensors)]
    tensor = tensors[key]
    if kind == "number" and tensor.numel():
        flat = tensor.reshape(-1).clone()
        flat[second % len(flat)] = value if tensor.dtype.is_floating_point or -128 <= value < 128 else 7
        tensors[key] = flat.reshape(tensor.shape)
    elif kind == "shape":
        tensors[key] = tensor.reshape(-1)
    elif kind == "type":
        tensors[key] = tensor.to([torch.float32, torch.int64, torch.uint8, torch.bfloat16, torch.bool][second % 5])
    elif kind == "cut" and tensor.ndim:
        tensors[key] = tensor[:max(0, len(tensor) - 1 - second % 3)].clone()
    elif kind == "longer" and tensor.ndim:
        tensors[key] = torch.cat([tensor, tensor])
    elif kind == "transposed":
        tensors[key] = tensor.t().contiguous() if tensor.ndim == 2 else tensor


def try_nearly(case):
    """Load a changed file, and predict with what it holds: "valid", or the ValueError that refuses it."""
    name, changes = case
    content, tensors = copy.deepcopy(saved(name)[0]), dict(saved(name)[1])
    for kind, *rest in changes:
        if kind in OF_JSON:
            change_json(content, kind, *rest)
        else:
            change_tensor(tensors, kind, *rest)
    content["digest"] = digest_of(content, tensors)
    X, _ = saved_forms.images(name)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.safetensors"
        path.write_bytes(safetensors.torch.save({key: value.clone() for key, value in tensors.items()},
                                                {"fmnist_sk": json.dumps(content)}))
        start, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        try:
            model = load(path, "cpu")
            outcome = "valid"
        except ValueError as error:
            if not 15 < len(str(error)) < 900:
                raise Failure(f"a message of {len(str(error))} characters") from error
            return error
        finally:
            took, more = time.monotonic() - start, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
            if took > SECONDS or more > MIB:
                raise Failure(f"{took:.1f} s and {more:.0f} MiB")
        try:
            found = model.predict(X)
            if np.shape(found) != (len(X),):
                raise Failure(f"predictions of shape {np.shape(found)}")
        except ValueError:                  # such as for members of other classes
            outcome = "valid"
        return outcome

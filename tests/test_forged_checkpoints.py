"""Checkpoints from strangers, whose content could make an optimizer write where it must not."""
import math
import warnings

import numpy as np
import pytest
import torch
from estimators import small

from fmnist_sk._storage.document import read_document, write_document
from fmnist_sk._storage.values import Decoder, Encoder

PLAN = {"max_epochs": 6, "schedule_epochs": 6, "keep_checkpoint": True, "ema": 0.9, "validation_fraction": 0.3,
        "random_state": 0}


def endless():
    items = [0]
    for _ in range(200):
        items = [items]
    return items


def change(*keys, to):
    """A forgery that sets one value of the content; `to` is given the old one."""
    def forge(content):
        for key in keys[:-1]:
            content = content[key]
        content[keys[-1]] = to(content[keys[-1]])
    return forge


def change_states(to):
    def forge(content):
        for state in content["optimizer"]["state"].values():
            for name, value in state.items():
                state[name] = to(value) if value.ndim else value
    return forge


def exchange_parameters(content):
    """The states of a weight for those of a bias."""
    ids = content["optimizer"]["param_groups"][0]["params"]
    ids[0], ids[1] = ids[1], ids[0]


def beyond_its_words(states):
    """A Mersenne twister that would read behind its 624 words."""
    for state in states.values():
        state[8:12], state[16:24] = torch.tensor([112, 2, 0, 0]), torch.tensor([112, 2, 0, 0, 0, 0, 0, 0])
    return states


def table_of(n, columns=None, lists=None, rows=()):
    """The form of a history of n epochs."""
    return {"kinds": np.zeros(n if isinstance(n, int) and 0 < n < 9 else 1, int),
            "tables": [{"n": n, "columns": columns or {}, "lists": lists or {}, "rows": list(rows)}]}


FORGERIES = {
    "exchanged parameters": exchange_parameters,
    "a generator beyond its words": change("generators", to=beyond_its_words),
    "states of one number": change_states(lambda value: torch.zeros(1)),
    "states without memory": change_states(lambda value: torch.zeros(1000, 1000)),
    "states as halves": change_states(lambda value: value.half()),
    "states as texts": change_states(lambda value: "abc"),
    "no state": change("optimizer", "state", to=lambda state: "abc"),
    "more states": change("optimizer", "state", 0, to=lambda state: {**state, "more": endless()}),
    "another optimizer": change("optimizer", to=lambda state: 3),
    "no groups": change("optimizer", "param_groups", to=lambda groups: []),
    "endless groups": change("optimizer", "param_groups", to=lambda groups: endless()),
    "a rate that is none": change("optimizer", "param_groups", 0, "lr", to=lambda rate: math.nan),
    "a wide module": change("module", to=lambda state: dict.fromkeys(state, torch.zeros(1000, 1000))),
    "a flat module": change("module", to=lambda state: {name: value.reshape(-1) for name, value in state.items()}),
    "no module": change("module", to=lambda state: None),
    "a flat average": change("average", "values", to=lambda values: [value.reshape(-1) for value in values]),
    "best weights of another": change("best", "weights", to=lambda weights: {"a": torch.zeros(1)}),
    "a best score that is none": change("best", "score", to=lambda score: "a"),
    "a short generator": change("generators", to=lambda states: {key: value[:3] for key, value in states.items()}),
    "an empty generator": change("generators", to=lambda states: {key: value * 0 for key, value in states.items()}),
    "an endless history": change("history", to=lambda history: endless()),
    **{f"{name} {value!r:.20}": change(name, to=lambda old, value=value: value) for name, value in [
        ("seed", "x"), ("seed", -1), ("seed", 2**31), ("phase", "a"), ("phase", 5), ("step", -5), ("step", 10**15),
        ("step", torch.zeros(0)), ("first", 0), ("first", 100), ("stopped", 3), ("history", []), ("history", {})]},
    **{f"a history of {name}": change("history", to=lambda old, value=value: value) for name, value in {
        "no tables": {"kinds": np.zeros(1, int), "tables": []}, "too many rows": table_of(10**9),
        "a text of rows": table_of("a"), "less than no rows": table_of(-1),
        "fewer kinds than rows": {**table_of(3), "kinds": np.zeros(2, int)},
        "more kinds than rows": {**table_of(3), "kinds": np.zeros(4, int)}, "numbers as rows": table_of(1, rows=[3]),
        "fewer numbers than rows": table_of(3, columns={"epoch": np.arange(2)}),
        "fewer of other values than rows": table_of(3, rows=[{}]),
        "texts": table_of(1, columns={"epoch": np.array([1])}, rows=[{"train_loss": "a"}]),
        **{f"batches of lengths {lengths}": table_of(1, columns={"epoch": np.array([1])}, lists={
            "batches": {"lengths": np.array(lengths), "items": table_of(2)}})
           for lengths in ([1], [3], [-2], [1, 1], [], [10**15])}}.items()},
}


@pytest.fixture
def unfinished(tiny_images, tmp_path):
    """A file of the first half of a fit, and a function that goes on with it."""
    X, y = tiny_images()
    small("ConvNetClassifier", **{**PLAN, "max_epochs": 3, "checkpoint": tmp_path}).fit(X, y)
    path, = tmp_path.iterdir()
    return path, lambda: small("ConvNetClassifier", **PLAN, checkpoint=tmp_path).fit(X, y).predict_proba(X)


@pytest.mark.parametrize("forgery", FORGERIES)
def test_forged_checkpoints_are_refused(forgery, unfinished):
    path, go_on = unfinished
    described, tensors = read_document(path)
    decoder, encoder = Decoder(tensors), Encoder()
    content = {name: decoder.decode(value) for name, value in described.items()}
    FORGERIES[forgery](content)
    write_document(path, {name: encoder.encode(value, name) for name, value in content.items()}, encoder.tensors)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "The checkpoint .* cannot be read")
        with pytest.raises((ValueError, UserWarning), match=rf"checkpoint:? {path} "):
            go_on()


def test_exchanged_checkpoints_are_refused(unfinished, tiny_images, tmp_path):
    X, y = tiny_images()
    go_on = unfinished[1]
    expected = go_on()
    small("ConvNetClassifier", **{**PLAN, "max_epochs": 6, "checkpoint": tmp_path}).fit(255 - X, y)
    files = [file for file in tmp_path.iterdir() if file.stem.endswith("-6")]
    contents = [file.read_bytes() for file in files]
    for file, other in zip(files, reversed(contents), strict=True):
        file.write_bytes(other)
    with pytest.raises(ValueError, match=r"is of another fit, and was originally named \w+-6\.\w+: rename or delete"):
        go_on()
    for file, own in zip(files, contents, strict=True):
        file.write_bytes(own)
    np.testing.assert_array_equal(go_on(), expected)

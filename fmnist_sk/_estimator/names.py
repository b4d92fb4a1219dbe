"""Names of parameters that a constructor does not accept, and what to do instead."""
from __future__ import annotations

import inspect
from typing import Any

from fmnist_sk._runtime.parameters import did_you_mean

INSTEAD = {
    "train_split": "set validation_fraction=0.2, or validation_data=(X, y), instead",
    "predict_nonlinearity": "give the criterion a method `probabilities` instead",
    "classes": "pass classes to partial_fit instead",
    "iterator_train": "images are on the device, and batches are cut from them there, without a data loader",
    "iterator_valid": "images are on the device, and batches are cut from them there, without a data loader",
    "dataset": "pass the images themselves to fit, without a data set",
    "use_caching": "callbacks' scores always use the predictions made during the epoch",
}
PREFIXES = "module", "criterion", "optimizer", "callbacks"


def check_names(kind: type, args: tuple, params: dict) -> None:
    """Raise TypeError for arguments that the constructor of `kind` does not accept."""
    constructor: Any = inspect.getattr_static(kind, "__init__")
    accepted = inspect.signature(constructor).parameters
    kinds = {parameter.kind for parameter in list(accepted.values())[1:]}
    if kinds - {inspect.Parameter.KEYWORD_ONLY}:            # a constructor that a user wrote
        return
    if args:
        raise TypeError(f"{kind.__name__} takes parameters by name only, such as {kind.__name__}(lr=0.01), got "
                        f"{args!r:.200}.")
    known = list(accepted)[1:]
    for name in params:
        if name in known:
            continue
        part, _, rest = name.partition("__")
        if rest and part in PREFIXES:
            advice = f"set it after construction: {kind.__name__}(...).set_params({name}={params[name]!r:.100})"
        elif rest and part in ("augment", "schedule"):
            advice = f"give it to the object passed as {part}"
        elif part in INSTEAD:
            advice = INSTEAD[part]
        else:
            meant = did_you_mean(name, known)
            advice = f"did you mean {meant}?" if meant else f"help({kind.__name__}) lists them"
        raise TypeError(f"{kind.__name__} has no parameter {name}: {advice.removesuffix('.')}"
                        f"{'' if advice.endswith('?') else '.'}")

"""Data sets in scikit-learn's form, and the names of Fashion-MNIST's classes."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils import Bunch

CLASS_NAMES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
               "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")


def fashion_labels(codes: tuple[int, ...], classes: np.ndarray, setting: str) -> list:
    """The labels in `classes` that stand for the Fashion-MNIST classes `codes` (0 to 9).

    Raise ValueError naming `setting` if the labels are neither codes nor names of Fashion-MNIST's classes.
    """
    known = {label: code for code, name in enumerate(CLASS_NAMES) for label in (code, name)}
    if unknown := [label for label in classes.tolist() if label not in known]:
        raise ValueError(f"{setting} is for Fashion-MNIST: y must hold the labels 0 to 9 or {', '.join(CLASS_NAMES)}, "
                         f"got {unknown}.")
    return [label for label in classes.tolist() if known[label] in codes]


def as_bunch(data: np.ndarray, target: np.ndarray | None, shape: tuple[int, int, int], names: Sequence[str],
             return_X_y: bool, as_frame: bool, descr: str, feature_names: Sequence[str] | None = None, **more: Any
             ) -> Bunch | tuple:
    """What a loader returns: data (n, values), their images of this shape (channels, height, width), and labels."""
    feature_names = list(feature_names or (f"pixel_{i}" for i in range(data.shape[1])))
    images, frame = data.reshape(-1, *(shape[1:] if shape[0] == 1 else shape)), None
    if as_frame:
        frame = pd.DataFrame(data, columns=feature_names)
        data = frame[feature_names]
        if target is not None:
            frame["target"] = target
            target = frame["target"]
    if return_X_y:
        return data, target
    return Bunch(data=data, images=images, target=target, frame=frame, feature_names=feature_names,
                 target_names=np.array(names), DESCR=descr, **more)

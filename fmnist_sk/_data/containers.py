"""Transformers give back the kind of container they were given."""
from __future__ import annotations

import numpy as np
import pandas as pd
from torch import Tensor


def like(X, values: np.ndarray | Tensor):
    """`values` as the kind of container that X is: DataFrame, tensor on its device, or array."""
    if isinstance(X, Tensor):
        return values
    if isinstance(values, Tensor):
        values = values.numpy()
    return pd.DataFrame(values, index=X.index, columns=X.columns) if isinstance(X, pd.DataFrame) else values

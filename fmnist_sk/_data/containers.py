"""Transformers return the kind of container they were given."""
from __future__ import annotations

from typing import Any, TypeGuard

import numpy as np
import pandas as pd
from sklearn import get_config
from torch import Tensor


def like(X: Any, values: np.ndarray | Tensor) -> Any:
    """`values` as the kind of container that X is: DataFrame, tensor on its device, or array."""
    if isinstance(X, Tensor):
        return values
    if isinstance(values, Tensor):
        values = values.numpy()
    return pd.DataFrame(values, index=X.index, columns=X.columns) if isinstance(X, pd.DataFrame) else values


def wants_tensor(X: Any) -> TypeGuard[Tensor]:
    """Whether scikit-learn should return a tensor when given one (``array_api_dispatch``)."""
    return isinstance(X, Tensor) and get_config()["array_api_dispatch"]

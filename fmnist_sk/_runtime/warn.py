"""Warnings that point to the user's line."""
from __future__ import annotations

import sys
import warnings

# Packages, and the modules of Python between their functions, whose lines say nothing to a user.
BETWEEN = {"fmnist_sk", "sklearn", "skorch", "joblib", "torch", "contextlib", "functools"}


def warn(message: str) -> None:
    """Give a UserWarning for the innermost line outside of this package and those that call it for the user."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in BETWEEN:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, UserWarning, stacklevel=level)

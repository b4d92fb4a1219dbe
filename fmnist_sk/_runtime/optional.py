"""Packages that are installed only with extras."""
from __future__ import annotations

import importlib
from types import ModuleType


def optional(name: str, what: str, extra: str) -> ModuleType:
    """The module `name`. If it is missing, raise ImportError: "<what> <package>: pip install 'fmnist_sk[<extra>]'."."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        top = name.partition(".")[0]
        package = {"cv2": "OpenCV", "PIL": "Pillow", "skimage": "scikit-image"}.get(top, top)
        raise ImportError(f"{what} {package}: pip install 'fmnist_sk[{extra}]'.") from error

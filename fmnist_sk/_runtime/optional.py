"""Packages that only extras bring."""
from __future__ import annotations

import importlib
from types import ModuleType


def optional(name: str, what: str, extra: str) -> ModuleType:
    """The module `name`; where it is missing, an ImportError that names the extra: "<what> <package>: pip install"."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        top = name.partition(".")[0]
        package = {"cv2": "OpenCV", "PIL": "Pillow", "skimage": "scikit-image"}.get(top, top)
        raise ImportError(f"{what} {package}: pip install 'fmnist_sk[{extra}]'.") from error

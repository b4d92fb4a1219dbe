"""Files of JSON and tensors in the safetensors format, used for saved models and checkpoints.

Reading runs and imports nothing. The size in the file's header is checked before more is read; time and memory are
proportional to the file's size.
"""
from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fmnist_sk._runtime.optional import optional
from fmnist_sk._storage.files import check_is_regular, write_whole

EXTRA = "Models are saved and loaded with", "save"
NAME = "fmnist_sk"              # of the JSON in the header's metadata
# Bytes that may be parsed, plus so many per byte of the file: Python's objects take up to 100 times as many.
LARGEST_HEADER = 2**20, 1 / 64  # names, types and shapes of tensors, and the JSON
LARGEST_JSON = 2**19, 1 / 64


def write_document(path: Path, content: dict, tensors: dict[str, Tensor]) -> None:
    """Write a file completely or not at all. Raises ValueError for content that is too large or not JSON."""
    safetensors = optional("safetensors.torch", *EXTRA)
    tensors = {name: _own(value) for name, value in tensors.items()}
    text = json.dumps({**content, "digest": digest_of(content, tensors)}, allow_nan=False)
    data = safetensors.save(tensors, {NAME: text})
    if len(text) > _most(LARGEST_JSON, len(data)):
        raise ValueError(f"settings must have at most {_most(LARGEST_JSON, len(data)):,} bytes as JSON, got "
                         f"{len(text):,}.")
    if int.from_bytes(data[:8], "little") > _most(LARGEST_HEADER, len(data)):
        raise ValueError(f"a file of its size holds at most about {_most(LARGEST_HEADER, len(data)) // 150:,} tensors, "
                         f"got {len(tensors):,}.")
    write_whole(path, data)


def _most(limit: tuple[int, float], size: int) -> int:
    return limit[0] + int(limit[1] * size)


def _own(tensor: Tensor) -> Tensor:
    """The tensor on the CPU, contiguous, and in unshared memory, as safetensors requires."""
    own = tensor.detach().cpu().contiguous()
    return own.clone() if own.data_ptr() == tensor.data_ptr() else own


def read_document(path: Path) -> tuple[dict, dict[str, Tensor]]:
    """Content and tensors of a file. Raises ValueError for other and damaged files."""
    safetensors = optional("safetensors.torch", *EXTRA)
    check_is_regular(path)
    try:
        with open(path, "rb") as file:
            length, size = int.from_bytes(file.read(8), "little"), os.fstat(file.fileno()).st_size
            if length > _most(LARGEST_HEADER, size):
                raise ValueError("it is not a safetensors file." if length > size else
                                 f"its header would have {length:,} bytes.")
            text = json.loads(file.read(length)).get("__metadata__", {}).get(NAME, "null")
            if len(text) > _most(LARGEST_JSON, size):
                raise ValueError(f"its settings have {len(text):,} bytes.")
            content = json.loads(text)
            file.seek(0)
            tensors = safetensors.load(file.read())         # not mapped: truncating a mapped file would crash Python
        digest = digest_of(content, tensors) if isinstance(content, dict) else None
    except Exception as error:                              # safetensors has several error classes
        raise ValueError(f"{path} is damaged, or not a file that save() wrote: {error!s:.200}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} is a safetensors file, but not one that save() wrote.")
    if content.pop("digest", None) != digest:
        raise ValueError(f"{path} is damaged: its content is not what was saved.")
    return content, tensors


def digest_of(content: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of content and tensors: detects damage, not forgery."""
    digest = hashlib.sha256(json.dumps({name: value for name, value in content.items() if name != "digest"},
                                       sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name}{tensor.dtype}{tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data if tensor.numel() else b"")
    return digest.hexdigest()

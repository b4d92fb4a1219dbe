"""Which arithmetic a network uses."""
from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager

import torch


def has_fast_bf16(device: torch.device) -> bool:
    """Whether the hardware multiplies bfloat16 matrices (AVX512-BF16, AMX, CUDA from Ampere)."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def compute_dtype(precision: str, device: torch.device) -> torch.dtype:
    """The type that the parameter `precision` ("auto", "bf16" or "fp32") stands for on a device."""
    if precision == "auto":
        return torch.bfloat16 if has_fast_bf16(device) else torch.float32
    return {"bf16": torch.bfloat16, "fp32": torch.float32}[precision]


def autocast(dtype: torch.dtype, device: torch.device) -> AbstractContextManager:
    """Context in which PyTorch computes convolutions and matrix products in `dtype`."""
    return contextlib.nullcontext() if dtype is torch.float32 else torch.autocast(device.type, dtype)

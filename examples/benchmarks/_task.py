"""What every side of peers.py is given: networks, a task, an optimizer, the same precision and memory layout."""
from __future__ import annotations

import importlib.util
import time
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from fmnist_sk import load_fashion_mnist
from fmnist_sk._runtime.precision import has_fast_bf16

LR, WEIGHT_DECAY, BATCH_SIZE = 1e-3, 0.01, 128
MEAN, STD = 72.94, 90.02


class Scale(nn.Module):
    """The standardisation of Fashion-MNIST's pixels, as a layer on every side."""

    def forward(self, x):
        return (x - MEAN) / STD


def cnn():
    """Two rounds of two convolutions: 0.9 M parameters."""
    return nn.Sequential(
        Scale(), nn.Conv2d(1, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(),
        nn.Conv2d(32, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(),
        nn.Conv2d(64, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(64 * 49, 256), nn.ReLU(), nn.Linear(256, 10))


def tiny():
    """One hidden layer of 32 units: what is left is mostly overhead."""
    return nn.Sequential(Scale(), nn.Flatten(), nn.Linear(784, 32), nn.ReLU(), nn.Linear(32, 10))


NETWORKS = {"cnn": cnn, "tiny": tiny}
NEEDS = {"Lightning": ("lightning", "peers"), "Keras": ("keras", "peers"), "HOG + SVC": ("skimage", "hog"),
         "pretrained": ("safetensors", "save")}         # what a side imports, and the extra that brings it


def installed(sides):
    """Those sides whose packages are installed; says which are left out."""
    found = []
    for name in sides:
        package, extra = NEEDS.get(name, ("torch", None))
        if importlib.util.find_spec(package) is not None:
            found.append(name)
        else:
            print(f"{name} is left out: it needs the extra fmnist_sk[{extra}]", flush=True)
    return found


@dataclass
class Task:
    """Train one of NETWORKS on images (n, 28, 28) uint8 with codes (n,)."""

    network: str
    X: np.ndarray
    y: np.ndarray
    device: torch.device
    seed: int = 0

    def module(self):
        return NETWORKS[self.network]().to(self.device, memory_format=torch.channels_last)

    def batches(self, X, y=None):
        """What most people feed a network with: a DataLoader that collects single images, shuffled if with labels."""
        tensors = [floats(X)] if y is None else [floats(X), torch.from_numpy(y)]
        return DataLoader(TensorDataset(*tensors), BATCH_SIZE, shuffle=y is not None)


def images(args, default):
    """Training images and codes: as many as asked for, or the part's own number."""
    train = load_fashion_mnist("train")
    return train.images[:args.images or default], train.target[:args.images or default]


def precision(device):
    return torch.bfloat16 if has_fast_bf16(device) else torch.float32


def autocast(device):
    return torch.autocast(device.type, precision(device), enabled=precision(device) != torch.float32)


def floats(X):
    return torch.from_numpy(X)[:, None].float()


def channels_last(x):
    return x.float().contiguous(memory_format=torch.channels_last)


def optimizer_of(module):
    """The same on every side but plain skorch: fused kernel, weight decay on weights but not on biases."""
    weights, biases = ([p for p in module.parameters() if (p.ndim > 1) == wanted] for wanted in (True, False))
    return torch.optim.AdamW([{"params": weights}, {"params": biases, "weight_decay": 0.0}], lr=LR,
                             weight_decay=WEIGHT_DECAY, fused=True)


def synchronized(device):
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()

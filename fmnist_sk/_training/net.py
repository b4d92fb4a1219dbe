"""What training requires of a net: skorch's hooks and attributes, and the parameters of ImageClassifier."""
from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from skorch.history import History
from torch import Tensor, nn

from fmnist_sk._data.images import Batch, Batches, Images, LabelledImages
from fmnist_sk._network.build import StandardizedNetwork

StepBatch = tuple[Mapping[str, Any], Tensor]         # as yielded by Batches: inputs, codes
Parts = tuple[LabelledImages, LabelledImages | None]    # training and validation images


def _as_they_are(train: LabelledImages, valid: LabelledImages | None) -> Parts:
    return train, valid


@dataclass(frozen=True)
class PhasePlan:
    """A part of a fit that runs the whole schedule.

    n_epochs : number of epochs planned for it
    lr : learning rate at its beginning
    begin : called before its first epoch, such as to freeze layers or to change the optimizer
    images : turns training and validation images into those used in this phase
    """

    n_epochs: int
    lr: float
    begin: Callable[[], None] = lambda: None
    images: Callable[[LabelledImages, LabelledImages | None], Parts] = _as_they_are


class Teacher(Protocol):
    """What gives targets (n, n_classes) for a batch, once it has learned the training images."""

    def learn(self, images: LabelledImages, seed: int | None) -> None: ...

    def __call__(self, batch: Batch) -> Tensor: ...


class Net(Protocol):
    """A net that can be trained."""

    module_: StandardizedNetwork
    criterion_: nn.Module
    optimizer_: torch.optim.Optimizer
    callbacks_: list[tuple[str, Any]]
    history_: History
    best_epoch_: int

    batch_size: int
    max_epochs: int
    module: Any
    criterion: Any
    optimizer: str | type[torch.optim.Optimizer]
    augment: Any
    sam_rho: float
    gradient_clip: float | None
    triplet_weight: float
    triplet_margin: float
    precision: str
    decay_biases: bool
    n_threads: int | None
    random_state: Any
    ema: float | None
    swa: float | None
    monitor: str
    keep_best: bool
    early_stopping: bool
    patience: int
    checkpoint: str | os.PathLike | None
    checkpoint_every: int
    keep_checkpoint: bool
    verbose: int
    initialized_: bool

    @property
    def device_(self) -> torch.device: ...

    @property
    def classes_(self) -> np.ndarray: ...

    @property
    def history(self) -> History: ...

    def notify(self, method_name: str, **kwargs: Any) -> None: ...

    def get_split_datasets(self, X: LabelledImages, y: Any = None) -> Parts: ...

    def get_iterator(self, dataset: Images, training: bool = False) -> Batches: ...

    def run_single_epoch(self, iterator: Iterable | None, training: bool, prefix: str, step_fn: Callable) -> None: ...

    def train_step(self, batch: StepBatch, **fit_params: Any) -> dict[str, Tensor]: ...

    def train_step_single(self, batch: StepBatch, **fit_params: Any) -> dict[str, Tensor]: ...

    def validation_step(self, batch: StepBatch, **fit_params: Any) -> dict[str, Tensor]: ...

    def infer(self, x: Any, **fit_params: Any) -> Tensor: ...

    def get_loss(self, y_pred: Tensor, y_true: Tensor, X: Any = None, training: bool = False) -> Tensor: ...

    def get_params_for(self, prefix: str) -> dict[str, Any]: ...

    def get_all_learnable_params(self) -> Iterable[tuple[str, nn.Parameter]]: ...

    def _set_training(self, training: bool = True) -> None: ...

    @property
    def _lr_name(self) -> str: ...

    def _plan_phases(self, epochs: int, done: int) -> Sequence[PhasePlan]: ...

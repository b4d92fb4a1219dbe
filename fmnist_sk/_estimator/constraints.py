"""What ImageClassifier's parameters may be."""
from __future__ import annotations

import numbers
import os
from types import NoneType

import torch
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval, RealNotInt, StrOptions, validate_parameter_constraints
from sklearn.utils.validation import check_is_fitted
from skorch.callbacks import Callback
from torch import nn

from fmnist_sk._network.build import OPTIMIZERS
from fmnist_sk._network.views import check_tta
from fmnist_sk._runtime.parameters import check_numbers
from fmnist_sk.augmentation import as_transformers
from fmnist_sk.losses import LOSSES
from fmnist_sk.schedules import as_schedule

OF_PREDICTIONS = "batch_size", "n_threads", "precision", "tta"        # what predictions depend on besides the network


class Parameters:
    """The part of ImageClassifier that checks them."""

    _parameter_constraints = {
        "image_shape": [tuple, list, None],
        "standardize": ["boolean", StrOptions({"min_max"})],
        "lr": [Interval(numbers.Real, 0, None, closed="neither")],
        "max_epochs": [Interval(numbers.Integral, 1, None, closed="left")],
        "batch_size": [Interval(numbers.Integral, 1, None, closed="left")],
        "optimizer": [StrOptions(set(OPTIMIZERS)), type],
        "momentum": [Interval(numbers.Real, 0, 1, closed="left")],
        "weight_decay": [Interval(numbers.Real, 0, None, closed="left")],
        "decay_biases": ["boolean"],
        "gradient_clip": [Interval(numbers.Real, 0, None, closed="neither"), None],
        "sam_rho": [Interval(numbers.Real, 0, None, closed="left")],
        "schedule_epochs": [Interval(numbers.Integral, 1, None, closed="left"), None],
        "criterion": [StrOptions(set(LOSSES)), type, nn.Module],
        "triplet_weight": [Interval(numbers.Real, 0, None, closed="left")],
        "triplet_margin": [Interval(numbers.Real, 0, 2, closed="both")],
        "ema": [Interval(numbers.Real, 0, 1, closed="neither"), None],
        "swa": [Interval(numbers.Real, 0, 1, closed="left"), None],
        "label_smoothing": [Interval(numbers.Real, 0, 1, closed="left")],
        "class_weight": [dict, StrOptions({"balanced", "report_3"}), None],
        "validation_fraction": [Interval(RealNotInt, 0, 1, closed="neither"),
                                Interval(numbers.Integral, 1, None, closed="left"), None],
        "validation_data": [tuple, list, None],
        "monitor": [StrOptions({"valid_acc", "valid_loss"})],
        "keep_best": ["boolean"],
        "early_stopping": ["boolean"],
        "patience": [Interval(numbers.Integral, 1, None, closed="left")],
        "warm_start": ["boolean"],
        "checkpoint": [str, os.PathLike, None],
        "checkpoint_every": [Interval(numbers.Integral, 1, None, closed="left")],
        "keep_checkpoint": ["boolean"],
        "random_state": ["random_state"],
        "device": [str, torch.device, None],
        "n_threads": [Interval(numbers.Integral, 1, 1024, closed="both"), None],
        "precision": [StrOptions({"auto", "bf16", "fp32"})],
        "callbacks": [list, StrOptions({"disable"}), None],
        "verbose": ["verbose"],
    }

    def _validate_params(self):
        """Raise ValueError or TypeError for parameters that cannot be used, alone or together."""
        self._check_each(BaseEstimator.get_params(self, deep=False))
        if isinstance(self.optimizer, type) and not issubclass(self.optimizer, torch.optim.Optimizer):
            raise TypeError(f"optimizer must be one of {sorted(OPTIMIZERS)} or a torch.optim.Optimizer class, "
                            f"got optimizer={self.optimizer!r}.")
        if self.optimizer is torch.optim.LBFGS:
            raise ValueError("optimizer must take steps without a closure, got optimizer=LBFGS.")
        for item in self.callbacks if isinstance(self.callbacks, list) else ():
            callback = item[1] if isinstance(item, (tuple, list)) and len(item) == 2 else item
            if not isinstance(callback, (Callback, NoneType)) and not (
                    isinstance(callback, type) and issubclass(callback, Callback)):
                raise TypeError(f"callbacks must be skorch callbacks or pairs (name, callback), got {item!r}.")
        validates = self.validation_fraction is not None, self.validation_data is not None
        if all(validates):
            raise ValueError("validation_fraction and validation_data exclude each other: set one of them to None.")
        if self.early_stopping and not any(validates):
            raise ValueError("early_stopping=True needs validation images: set validation_fraction=0.1, or "
                             "validation_data=(X, y).")
        if self.ema is not None and self.swa is not None:
            raise ValueError(f"ema and swa exclude each other: set one of them to None, got ema={self.ema}, "
                             f"swa={self.swa}.")
        if self.schedule_epochs is not None and self.schedule_epochs < self.max_epochs:
            raise ValueError(f"schedule_epochs must be at least max_epochs={self.max_epochs}, got "
                             f"schedule_epochs={self.schedule_epochs}.")
        if self.keep_checkpoint and self.checkpoint is None:
            raise ValueError("keep_checkpoint=True needs a folder to keep files in, got checkpoint=None.")
        if self.keep_checkpoint and self.random_state is None:
            raise ValueError("keep_checkpoint=True needs a seed, because fits without one are not the same again: set "
                             "random_state=0, got random_state=None.")
        if self.checkpoint is not None and not os.fspath(self.checkpoint):
            raise ValueError(f"checkpoint must be the path of a folder, got checkpoint={self.checkpoint!r}.")
        if isinstance(self.criterion, type) and not issubclass(self.criterion, nn.Module):
            raise TypeError(f"criterion must be one of {sorted(LOSSES)}, an nn.Module class or instance, got "
                            f"criterion={self.criterion!r}.")
        schedule = as_schedule(self.schedule)
        if (schedule.monitored or "").startswith("valid_") and not any(validates):
            raise ValueError("schedule needs validation images: set validation_fraction=0.1 or validation_data=(X, y), "
                             f"or monitor='train_loss', got schedule={schedule!r}.")
        as_transformers(self.augment)

    def _check_ready(self) -> None:
        """Raise NotFittedError, or ValueError or TypeError for parameters that predictions cannot be made with.

        They may have been set after the fit. The others are not looked at, because that would take as long as the
        prediction of an image.
        """
        check_is_fitted(self)
        self._check_each({name: getattr(self, name) for name in OF_PREDICTIONS})

    def _check_each(self, params: dict) -> None:
        check_numbers(params)
        validate_parameter_constraints(self._parameter_constraints, params, caller_name=type(self).__name__)
        check_tta(self.tta)

"""Valid values of ImageClassifier's parameters, alone and together."""
from __future__ import annotations

import inspect
import os
from collections.abc import Collection
from types import NoneType
from typing import Any

import torch
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import (
    HasMethods,
    Interval,
    RealNotInt,
    StrOptions,
    validate_parameter_constraints,
)
from sklearn.utils.validation import check_is_fitted
from skorch.callbacks import Callback, InputShapeSetter, LRScheduler
from torch import nn

from fmnist_sk._network.optimizer import OPTIMIZERS
from fmnist_sk._network.views import check_tta
from fmnist_sk._runtime.parameters import check_numbers, real, whole
from fmnist_sk.augmentation import as_transformers
from fmnist_sk.losses import LOSSES
from fmnist_sk.schedules import Constant, as_schedule

PREDICTION_PARAMS = "batch_size", "n_threads", "precision", "tta", "tta_below"       # predictions depend on these too
VALIDATION_SCORES = "valid_loss", "valid_acc", "valid_loss_best", "valid_acc_best"

PARAMETER_CONSTRAINTS: dict[str, list] = {
    "image_shape": [tuple, list, None],
    "standardize": ["boolean", StrOptions({"min_max"})],
    "lr": [real(0, closed="neither")],
    "max_epochs": [whole(1)],
    "batch_size": [whole(1)],
    "momentum": [real(0, 1, "left")],
    "weight_decay": [real(0, closed="left")],
    "decay_biases": ["boolean"],
    "gradient_clip": [real(0, closed="neither"), None],
    "sam_rho": [real(0, closed="left")],
    "schedule_epochs": [whole(1), None],
    "triplet_weight": [real(0, closed="left")],
    "triplet_margin": [real(0, 2)],
    "ema": [real(0, 1, "neither"), None],
    "swa": [real(0, 1, "left"), None],
    "teacher": [HasMethods(["predict_proba"]), None],
    "teacher_weight": [real(0, 1)],
    "tta_below": [real(0, 1), None],
    "label_smoothing": [real(0, 1, "left")],
    "class_weight": [dict, StrOptions({"balanced"}), None],
    "validation_fraction": [Interval(RealNotInt, 0, 1, closed="neither"), whole(1), None],
    "monitor": [StrOptions({"valid_acc", "valid_loss"})],
    "keep_best": ["boolean"],
    "early_stopping": ["boolean"],
    "patience": [whole(1)],
    "warm_start": ["boolean"],
    "checkpoint": [str, os.PathLike, None],
    "checkpoint_every": [whole(1)],
    "keep_checkpoint": ["boolean"],
    "random_state": ["random_state"],
    "device": [str, torch.device, None],
    "n_threads": [whole(1, 1024), None],
    "precision": [StrOptions({"auto", "bf16", "fp32"})],
    "callbacks": [list, StrOptions({"disable"}), None],
    "verbose": ["verbose"],
}


def check_params(net: Any) -> None:
    """Raise ValueError or TypeError for parameters that cannot be used, alone or together."""
    check_each(net)
    validates = net.validation_fraction is not None, net.validation_data is not None
    has_validation = any(validates) or not type(net).get_split_datasets.__module__.startswith("fmnist_sk.")
    if all(validates):
        raise ValueError("validation_fraction and validation_data exclude each other: set one of them to None, got "
                         f"validation_fraction={net.validation_fraction} and validation_data.")
    if net.early_stopping and not has_validation:
        raise ValueError("early_stopping=True needs validation images: set validation_fraction=0.1, or "
                         "validation_data=(X, y), got neither.")
    if net.ema is not None and net.swa is not None:
        raise ValueError(f"ema and swa exclude each other: set one of them to None, got ema={net.ema}, "
                         f"swa={net.swa}.")
    if net.schedule_epochs is not None and net.schedule_epochs < net.max_epochs:
        raise ValueError(f"schedule_epochs must be at least max_epochs={net.max_epochs}, got "
                         f"schedule_epochs={net.schedule_epochs}.")
    if net.keep_checkpoint and net.checkpoint is None:
        raise ValueError("keep_checkpoint=True needs a folder to keep files in, got checkpoint=None.")
    if net.keep_checkpoint and net.random_state is None:
        raise ValueError("keep_checkpoint=True needs a seed, because fits without one cannot be repeated: set "
                         "random_state=0, got random_state=None.")
    schedule = as_schedule(net.schedule)
    if (schedule.monitored or "").startswith("valid_") and not has_validation:
        raise ValueError("schedule needs validation images: set validation_fraction=0.1 or validation_data=(X, y), "
                         f"or give it monitor='train_loss', got schedule={schedule!r}.")
    _check_callbacks(net, has_validation=has_validation, has_schedule=not isinstance(schedule, Constant))


def check_each(net: Any) -> None:
    """Raise ValueError or TypeError for parameters that cannot be used, whatever the others are.

    A saved classifier, which lacks what only its training needed, must pass this much.
    """
    _check_values(net, BaseEstimator.get_params(net, deep=False))
    _check_choice("optimizer", net.optimizer, OPTIMIZERS, "a torch.optim.Optimizer class",
                  isinstance(net.optimizer, type) and issubclass(net.optimizer, torch.optim.Optimizer))
    _check_choice("criterion", net.criterion, LOSSES, "an nn.Module class or instance",
                  isinstance(net.criterion, nn.Module)
                  or (isinstance(net.criterion, type) and issubclass(net.criterion, nn.Module)))
    if net.optimizer is torch.optim.LBFGS:
        raise ValueError("optimizer must take steps without a closure, got optimizer=LBFGS.")
    pair = net.validation_data
    if pair is not None and not (isinstance(pair, (tuple, list)) and len(pair) == 2):
        got = f"{len(pair)} items" if isinstance(pair, (tuple, list)) else f"an object of type {type(pair).__name__}"
        raise ValueError(f"validation_data must be a pair (X, y) or None, got {got}.")
    if net.checkpoint is not None and not os.fspath(net.checkpoint):
        raise ValueError(f"checkpoint must be the path of a folder, got checkpoint={net.checkpoint!r}.")
    as_schedule(net.schedule)
    as_transformers(net.augment)


def _check_choice(name: str, value: Any, known: Collection[str], others: str, is_other: bool) -> None:
    """Raise ValueError or TypeError unless a parameter has one of the `known` names, or is one of the `others`."""
    if not is_other and not (isinstance(value, str) and value in known):
        kind = ValueError if isinstance(value, str) else TypeError
        raise kind(f"{name} must be one of {', '.join(map(repr, known))}, or {others}, got {name}={value!r:.100}.")


def _check_callbacks(net: Any, has_validation: bool, has_schedule: bool) -> None:
    """Raise ValueError or TypeError for callbacks that cannot do their job here."""
    for item in net.callbacks if isinstance(net.callbacks, list) else ():
        callback = item[1] if isinstance(item, (tuple, list)) and len(item) == 2 else item
        kind = callback if isinstance(callback, type) else type(callback)
        if not isinstance(callback, NoneType) and not issubclass(kind, Callback):
            raise TypeError(f"callbacks must be skorch callbacks or pairs (name, callback), got {item!r}.")
        if has_schedule and issubclass(kind, LRScheduler):
            raise ValueError("schedule and skorch's LRScheduler would both set the learning rate: set "
                             f"schedule='constant', or pass TorchSchedule as schedule, got schedule={net.schedule!r} "
                             f"and callbacks with {kind.__name__}.")
        if issubclass(kind, InputShapeSetter):
            raise ValueError("callbacks must not hold InputShapeSetter: a module that names in_channels, n_classes or "
                             f"image_shape in its signature is passed them, so it needs none, got {item!r}.")
        default = inspect.signature(kind).parameters.get("monitor")
        monitor = default.default if isinstance(callback, type) and default else getattr(callback, "monitor", None)
        if monitor in VALIDATION_SCORES and not has_validation:
            raise ValueError(f"callbacks: {kind.__name__} follows {monitor!r}, which needs validation images: set "
                             "validation_fraction=0.1 or validation_data=(X, y), or give it monitor='train_loss', "
                             "got neither.")


def check_ready(net: Any) -> None:
    """Raise NotFittedError, or ValueError or TypeError for parameters that make predictions impossible.

    They may have been set after the fit. The other parameters are not checked, because that would take as long as
    predicting an image.
    """
    if not net.initialized_:
        check_is_fitted(net)                # which raises the error, but takes as long as all the rest
    _check_values(net, {name: getattr(net, name) for name in PREDICTION_PARAMS})


def _check_values(net: Any, params: dict[str, Any]) -> None:
    check_numbers(params)
    validate_parameter_constraints(net._parameter_constraints, params, caller_name=type(net).__name__)
    check_tta(net.tta)

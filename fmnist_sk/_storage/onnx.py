"""Fitted networks for other programs: ONNX, and PyTorch's exported programs."""
from __future__ import annotations

import json
import logging
import os
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from fmnist_sk._runtime.optional import optional
from fmnist_sk._storage.files import as_path, write_whole

TOLERANCE = 1e-5        # of probabilities, between PyTorch and onnxruntime, beside rounding
Shape = tuple[int, int, int]


def export_program(predictor: nn.Module, image_shape: Shape) -> torch.export.ExportedProgram:
    """A module that makes probabilities of images (n, channels, height, width), n >= 1, as a program for PyTorch."""
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.export.export(predictor, (torch.zeros(2, *image_shape),), dynamic_shapes={
            "images": {0: torch.export.Dim("batch", min=1)}})


def export_onnx(predictor: nn.Module, path: str | os.PathLike, image_shape: Shape, classes: np.ndarray,
                class_names: Sequence[str] | None, value_range: tuple[float, float] | None) -> Path:
    """Write such a module as an ONNX model that gives labels too, once onnxruntime gives what PyTorch gives."""
    path = as_path(path)
    onnx, runtime, _ = (optional(name, "Models are exported with", "onnx")
                        for name in ("onnx", "onnxruntime", "onnxscript"))
    labels = np.array(classes.tolist())             # texts in an array of objects are texts
    if class_names is not None and (isinstance(class_names, str) or not hasattr(class_names, "__len__")
                                    or len(class_names) != len(labels)):
        raise ValueError(f"class_names must name each of the {len(labels)} classes, got class_names={class_names!r}.")
    names = None if class_names is None else [str(name) for name in class_names]
    if labels.dtype.kind == "u" and labels.max() > np.iinfo(np.int64).max:
        raise ValueError(f"y must have held labels that int64 holds, got {labels.max()}.")
    model = _as_onnx(predictor, image_shape)
    _add_labels(onnx, model.graph, "label", labels)
    if names is not None:
        _add_labels(onnx, model.graph, "class_name", np.array(names))
    for name, value in {"classes": labels.tolist(), "class_names": names, "image_shape": image_shape,
                        "value_range": value_range}.items():
        model.metadata_props.add(key=name, value=json.dumps(value))
    onnx.checker.check_model(model, full_check=True)
    data = model.SerializeToString()
    _compare(runtime, data, predictor, image_shape, labels, value_range or (0.0, 1.0))
    write_whole(path, data)
    return path


def _as_onnx(predictor: nn.Module, image_shape: Shape):
    program, logger = export_program(predictor, image_shape), logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            exported = torch.onnx.export(program, (torch.zeros(2, *image_shape),), dynamo=True, verbose=False,
                                         input_names=["images"], output_names=["probabilities"])
    finally:
        logger.setLevel(level)
    if exported is None:
        raise RuntimeError("PyTorch's exporter gave no program.")
    return exported.model_proto


def _compare(runtime, data: bytes, predictor: nn.Module, image_shape: Shape, labels: np.ndarray,
             value_range: tuple[float, float]) -> None:
    """Raise RuntimeError if the ONNX model gives other labels than PyTorch, or other probabilities."""
    low, high = value_range
    images = torch.rand(3, *image_shape, generator=torch.Generator().manual_seed(0)) * (high - low) + low
    session = runtime.InferenceSession(data, providers=["CPUExecutionProvider"])
    given, found = session.run(["label", "probabilities"], {"images": images.numpy()})
    with torch.no_grad():
        expected, exact = predictor(images).numpy(), predictor.double()(images.double()).numpy()
    difference, rounding = np.abs(found - expected).max(), np.abs(expected - exact).max()
    if not difference <= max(TOLERANCE, 4 * rounding):
        raise RuntimeError(f"The ONNX model differs from PyTorch: probabilities by up to {difference:.2g}. It was "
                           "not written.")
    if given.tolist() != labels[found.argmax(1)].tolist():
        raise RuntimeError(f"The ONNX model gives the labels {given.tolist()} for "
                           f"{labels[found.argmax(1)].tolist()}. It was not written.")


def _add_labels(onnx, graph, name: str, labels: np.ndarray) -> None:
    """Append an output: which of `labels` (n_classes,) belongs to the largest probability."""
    helper = onnx.helper
    if labels.dtype.kind == "U":
        kind, values = onnx.TensorProto.STRING, [label.encode() for label in labels.tolist()]
    else:
        labels = labels.astype({"f": np.float32, "b": np.bool_}.get(labels.dtype.kind, np.int64))
        kind, values = helper.np_dtype_to_tensor_dtype(labels.dtype), labels.tolist()
    graph.initializer.append(helper.make_tensor(f"all_of_{name}", kind, [len(labels)], values))
    graph.node.extend([
        helper.make_node("ArgMax", ["probabilities"], [f"index_of_{name}"], axis=1, keepdims=0),
        helper.make_node("Gather", [f"all_of_{name}", f"index_of_{name}"], [name], axis=0)])
    batch = graph.input[0].type.tensor_type.shape.dim[0].dim_param
    graph.output.insert(0, helper.make_tensor_value_info(name, kind, [batch]))

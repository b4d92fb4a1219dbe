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
from torch import Tensor, nn

from fmnist_sk._runtime.optional import optional
from fmnist_sk._storage.files import expanded, write_whole

TOLERANCE = 1e-5        # of probabilities, between PyTorch and onnxruntime, besides rounding


def export_program(predictor: nn.Module, images: Tensor) -> torch.export.ExportedProgram:
    """A module from images like `images` (2, channels, height, width) to probabilities, as a program for PyTorch.

    The program accepts any number of images.
    """
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return torch.export.export(predictor, (images,), dynamic_shapes={
                "images": {0: torch.export.Dim("batch", min=1)}})
        except Exception as error:              # those of torch.export have no common base class
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise ValueError("module must be a network that torch.export can follow, whose Python code asks nothing of "
                             f"the images' values or number, got one that it cannot: {reason}") from error


def export_onnx(predictor: nn.Module, path: str | os.PathLike, images: Tensor, classes: np.ndarray,
                class_names: Sequence[str] | None, value_range: tuple[float, float] | None) -> Path:
    """Write such a module as an ONNX model that also gives labels, once onnxruntime's results match PyTorch's.

    images : (n, channels, height, width) float32, on which the two are compared
    """
    path = expanded(path)
    onnx, runtime, _ = (optional(name, "Models are exported with", "onnx")
                        for name in ("onnx", "onnxruntime", "onnxscript"))
    labels = _exportable_labels(classes)
    _, *image_shape = images.shape
    model = _as_onnx(predictor, images)
    _add_labels(onnx, model.graph, "label", labels)
    if class_names is not None:
        _add_labels(onnx, model.graph, "class_name", np.array(class_names))
    for name, value in {"classes": labels.tolist(), "class_names": class_names, "image_shape": image_shape,
                        "value_range": value_range}.items():
        model.metadata_props.add(key=name, value=json.dumps(value))
    onnx.checker.check_model(model, full_check=True)
    _check_labels(onnx, runtime, labels)
    data = model.SerializeToString()
    _compare(runtime, data, predictor, images)
    write_whole(path, data)
    return path


def _exportable_labels(classes: np.ndarray) -> np.ndarray:
    """The labels in ONNX's types: strings, bool, int64 or float64. Raises ValueError for others, such as dates."""
    labels = np.array(classes.tolist()) if classes.dtype == object else classes       # texts
    if labels.dtype.kind == "U":
        return labels
    exact = labels.astype({"b": np.bool_, "f": np.float64}.get(labels.dtype.kind, np.int64)) \
        if labels.dtype.kind in "biuf" else labels[:0]
    if exact.tolist() != labels.tolist():
        raise ValueError("y must have held labels of a type that ONNX has, strings, bools, and numbers that int64 or "
                         f"float64 hold, got {labels.dtype} such as {labels[-1]!r}: fit with such labels, and keep "
                         "a list of what they stand for.")
    return exact


def _as_onnx(predictor: nn.Module, images: Tensor):
    program, logger = export_program(predictor, images[:2]), logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            exported = torch.onnx.export(program, (images[:2],), dynamo=True, verbose=False,
                                         input_names=["images"], output_names=["probabilities"])
    finally:
        logger.setLevel(level)
    if exported is None:
        raise RuntimeError("PyTorch's exporter gave no program.")
    return exported.model_proto


def _compare(runtime, data: bytes, predictor: nn.Module, images: Tensor) -> None:
    """Raise RuntimeError if the ONNX model's probabilities differ from PyTorch's."""
    session = runtime.InferenceSession(data, providers=["CPUExecutionProvider"])
    found, = session.run(["probabilities"], {"images": images.numpy()})
    with torch.no_grad():
        expected, exact = predictor(images).numpy(), predictor.double()(images.double()).numpy()
    difference, rounding = np.abs(found - expected).max(), np.abs(expected - exact).max()
    if not difference <= max(TOLERANCE, 4 * rounding):
        raise RuntimeError(f"The ONNX model differs from PyTorch: probabilities by up to {difference:.2g}. It was "
                           "not written.")


def _check_labels(onnx, runtime, labels: np.ndarray) -> None:
    """Raise RuntimeError unless onnxruntime gives each label where its probability is the largest."""
    graph = onnx.helper.make_graph([], "labels", [onnx.helper.make_tensor_value_info(
        "probabilities", onnx.TensorProto.FLOAT, ["batch", len(labels)])], [])
    _add_labels(onnx, graph, "label", labels)
    model = onnx.helper.make_model(graph, ir_version=10, opset_imports=[onnx.helper.make_opsetid("", 20)])
    session = runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    given, = session.run(None, {"probabilities": np.eye(len(labels), dtype=np.float32)})
    if given.tolist() != labels.tolist():
        raise RuntimeError(f"The ONNX model gives the labels {given.tolist()} for {labels.tolist()}. It was not "
                           "written.")


def _add_labels(onnx, graph, name: str, labels: np.ndarray) -> None:
    """Append an output: which of `labels` (n_classes,) belongs to the largest probability."""
    helper = onnx.helper
    if labels.dtype.kind == "U":
        kind, values = onnx.TensorProto.STRING, [label.encode() for label in labels.tolist()]
    else:
        kind, values = helper.np_dtype_to_tensor_dtype(labels.dtype), labels.tolist()
    graph.initializer.append(helper.make_tensor(f"all_of_{name}", kind, [len(labels)], values))
    graph.node.extend([
        helper.make_node("ArgMax", ["probabilities"], [f"index_of_{name}"], axis=1, keepdims=0),
        helper.make_node("Gather", [f"all_of_{name}", f"index_of_{name}"], [name], axis=0)])
    batch = graph.input[0].type.tensor_type.shape.dim[0].dim_param
    graph.output.insert(0, helper.make_tensor_value_info(name, kind, [batch]))

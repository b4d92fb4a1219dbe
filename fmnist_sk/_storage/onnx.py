"""Fitted networks for other programs: ONNX, and PyTorch's exported programs."""
from __future__ import annotations

import copy
import json
import logging
import os
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn
from torch.nn import functional as F

from fmnist_sk._network.views import views
from fmnist_sk._runtime.optional import optional
from fmnist_sk._storage.files import as_path, write_whole

TOLERANCE = 1e-5        # of probabilities, between PyTorch and onnxruntime, beside rounding


class Predictor(nn.Module):
    """What predict_proba does, as a module: raw pixels (n, channels, height, width) to probabilities (n, n_classes)."""

    def __init__(self, classifier):
        super().__init__()
        self.network = classifier.module_
        self.criterion = classifier.criterion_
        self.tta = classifier.tta
        self.background = 0.0 if classifier.value_range_ is None else float(classifier.value_range_[0])
        shape, network = classifier.image_shape_, classifier._network_shape
        self.padding = (0, network[2] - shape[2], 0, network[1] - shape[1])

    def forward(self, images: Tensor) -> Tensor:
        x = F.pad(images, self.padding) if any(self.padding) else images
        found = [self._probabilities(self.network(view)) for view in views(x, self.tta, self.background)]
        return found[0] if len(found) == 1 else torch.stack(found).mean(0)

    def _probabilities(self, logits: Tensor) -> Tensor:
        function = getattr(self.criterion, "probabilities", None)
        return logits.softmax(1) if function is None else function(logits)


class Exports:
    """The part of ImageClassifier that takes fitted networks elsewhere."""

    def to_exported_program(self) -> torch.export.ExportedProgram:
        """The fitted classifier as a program for PyTorch alone: ``torch.export.save(program, "model.pt2")``.

        ``program.module()(images)`` gives the probabilities (n, n_classes) float32, in the order of ``classes_``, of
        images (n, channels, height, width) float32 with values as in training, n >= 1. Standardisation, padding,
        test-time augmentation and the loss's probabilities are inside. It is on the CPU, in float32.

        Raises scikit-learn's NotFittedError.
        """
        check_is_fitted(self)
        # A copy by way of the weights: the classifier itself may be on another device, and must stay there.
        predictor = Predictor(self._on_cpu()).eval().requires_grad_(False)
        example = torch.zeros(2, *self.image_shape_)
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.export.export(predictor, (example,), dynamic_shapes={
                "images": {0: torch.export.Dim("batch", min=1)}})

    def _on_cpu(self):
        classifier = copy.copy(self)
        classifier.module_ = copy.deepcopy(self.module_).cpu().to(memory_format=torch.contiguous_format)
        classifier.criterion_ = copy.deepcopy(self.criterion_).cpu()
        return classifier

    def to_onnx(self, path: str | os.PathLike, class_names: Sequence[str] | None = None) -> Path:
        """Write the fitted classifier as an ONNX model, which other languages and programs run.

        Input "images": float32 (n, channels, height, width), values as in training, n >= 1. Outputs "label": (n,), the
        labels themselves; "probabilities": float32 (n, n_classes); and with `class_names`, (n_classes,) texts in the
        order of ``classes_``, "class_name": (n,). The model's metadata hold "classes", the order of the probabilities,
        "class_names", "image_shape" and "value_range" as JSON. Standardisation, padding, test-time augmentation and
        the loss's probabilities are inside. Before the file is written, the model is run by onnxruntime and compared
        with PyTorch in float32, in which it computes. A classifier that predicts in bfloat16, as ``precision="auto"``
        does where the hardware has it, rounds its own probabilities more coarsely and so differs a little.

        Of a DeepEnsembleClassifier the members, ``estimators_``, are exported one by one: its probabilities are the
        mean of theirs.

        Needs the extra ``fmnist_sk[onnx]``. Returns the path.

        Raises scikit-learn's NotFittedError, ImportError without the extra, ValueError for names that do not fit,
        RuntimeError if the labels differ, or the probabilities by more than 1e-5 and more than PyTorch's own rounding
        errors explain.
        """
        check_is_fitted(self)
        path = as_path(path)
        onnx, runtime, _ = (optional(name, "Models are exported with", "onnx")
                            for name in ("onnx", "onnxruntime", "onnxscript"))
        labels = np.array(self.classes_.tolist())             # texts in an array of objects are texts
        if class_names is not None and (isinstance(class_names, str) or not hasattr(class_names, "__len__")
                                        or len(class_names) != len(labels)):
            raise ValueError(f"class_names must name each of the {len(labels)} classes, got "
                             f"class_names={class_names!r}.")
        names = None if class_names is None else [str(name) for name in class_names]
        if labels.dtype.kind == "u" and labels.max() > np.iinfo(np.int64).max:
            raise ValueError(f"y must have held labels that int64 holds, got {labels.max()}.")
        program, logger = self.to_exported_program(), logging.getLogger("torch.onnx")
        level = logger.level
        logger.setLevel(logging.ERROR)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                model = torch.onnx.export(program, (torch.zeros(2, *self.image_shape_),), dynamo=True, verbose=False,
                                          input_names=["images"], output_names=["probabilities"]).model_proto
        finally:
            logger.setLevel(level)
        _add_labels(onnx, model.graph, "label", labels)
        if names is not None:
            _add_labels(onnx, model.graph, "class_name", np.array(names))
        for name, value in {"classes": labels.tolist(), "class_names": names, "image_shape": self.image_shape_,
                            "value_range": self.value_range_}.items():
            model.metadata_props.add(key=name, value=json.dumps(value))
        onnx.checker.check_model(model, full_check=True)
        data = model.SerializeToString()
        self._compare(runtime, data, labels)
        write_whole(path, data)
        return path

    def _compare(self, runtime, data: bytes, labels: np.ndarray) -> None:
        low, high = self.value_range_ or (0.0, 1.0)
        images = torch.rand(3, *self.image_shape_, generator=torch.Generator().manual_seed(0)) * (high - low) + low
        session = runtime.InferenceSession(data, providers=["CPUExecutionProvider"])
        given, found = session.run(["label", "probabilities"], {"images": images.numpy()})
        module = Predictor(self._on_cpu()).eval()
        with torch.no_grad():
            expected, exact = module(images).numpy(), module.double()(images.double()).numpy()
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

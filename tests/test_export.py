"""Exported networks give the probabilities and labels that the classifier gives."""
import json
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from estimators import PatchNet, kinds_of_classifiers, small
from fashion import real_data
from sklearn.exceptions import NotFittedError

from fmnist_sk import (
    CLASS_NAMES,
    DeepEnsembleClassifier,
    ImageClassifier,
    load_fashion_mnist,
    load_pretrained,
    reference_system,
    reference_systems,
)


class Deciding(PatchNet):
    def forward(self, x):
        return super().forward(x if x.sum() > 0 else -x)


def run(path, images):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert [node.name for node in session.get_inputs()] == ["images"]
    return session.run(["label", "probabilities"], {"images": np.asarray(images, dtype=np.float32)})


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.onnx"


@pytest.mark.parametrize("name", kinds_of_classifiers("MLPMixerClassifier"))
def test_every_network_gives_the_same_elsewhere(name, path, tiny_images):
    X, y = tiny_images(["bag", "coat", "shirt"])
    # The small checkpoint of Inception v3 holds noise, in which rounding errors grow.
    params = {"weights": None} if name == "InceptionV3Classifier" else {}
    model = small(name, max_epochs=1, precision="fp32", **params).fit(X, y)
    expected = model.predict_proba(X)
    assert model.to_onnx(path) == path
    for n in (1, 2, 60):                                                     # any batch
        labels, probabilities = run(path, X[:n, None])
        np.testing.assert_allclose(probabilities, expected[:n], atol=1e-5)
        assert labels.tolist() == model.predict(X[:n]).tolist()
    program = model.to_exported_program()
    for n in (1, 60):
        found = program.module()(torch.from_numpy(X[:n, None]).float())
        np.testing.assert_allclose(found, expected[:n], atol=1e-5)
    np.testing.assert_array_equal(model.predict_proba(X), expected)          # the classifier is as it was


ONE_OF_EACH_KIND = "cnn_3", "four_layer_cnn"


@pytest.mark.parametrize("name", [name if name in ONE_OF_EACH_KIND else
                                  pytest.param(name, marks=pytest.mark.exhaustive)
                                  for name in reference_systems() if name != "inception_v3"])
def test_every_reference_system_gives_the_same_elsewhere(name, path, tiny_images):
    X, y = tiny_images(n=20, size=28)
    model = reference_system(name, max_epochs=1, lr=1e-5, schedule="constant", augment=None, validation_fraction=None,
                             precision="fp32", random_state=0).fit(X, y)
    labels, probabilities = run(model.to_onnx(path), X[:, None])
    np.testing.assert_allclose(probabilities, model.predict_proba(X), atol=1e-5)
    assert labels.tolist() == model.predict(X).tolist()


@pytest.mark.parametrize("params", [
    {"tta": ("mirror", "shift")}, {"tta": "mirror", "tta_below": 0.4}, {"criterion": "sigmoid"},
    {"standardize": False}, {"architecture": "8W4/2-16N"},
    *(pytest.param(params, marks=pytest.mark.exhaustive) for params in (
        {"criterion": "mse"}, {"ema": 0.9}, {"criterion": torch.nn.CrossEntropyLoss})),
], ids=str)
def test_what_predictions_depend_on_is_inside(params, path, tiny_images):
    X, y = tiny_images(channels=3)
    model = small("ConvNetClassifier", max_epochs=1, precision="fp32", lr=1e-3, **params).fit(X, y)
    _, probabilities = run(model.to_onnx(path), X)
    np.testing.assert_allclose(probabilities, model.predict_proba(X), atol=1e-5)
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-5)


def test_small_images_are_padded_inside(path, tiny_images):
    X, y = tiny_images(size=3)
    model = small("ConvNetClassifier", architecture="4C3valid-4C3valid-MP2", max_epochs=1, precision="fp32")
    with pytest.warns(UserWarning, match="padded to 6 x 6"):
        model.fit(X.reshape(len(X), -1), y)
    expected = model.predict_proba(X.reshape(len(X), -1))
    _, probabilities = run(model.to_onnx(path), X[:, None])
    np.testing.assert_allclose(probabilities, expected, atol=1e-5)


@pytest.mark.parametrize("labels", [
    [3, 5], ["a", "ü"], [False, True], [16777217.0, 16777219.0], np.array([2**62, 2**63 - 1]),
    *(pytest.param(labels, marks=pytest.mark.exhaustive) for labels in (
        [1.0, 2.0], np.array(["x", "yy"], dtype=object), np.array([200, 255], dtype=np.uint8),
        np.array([0.0, 1.0], dtype=np.float16), np.array([-2, 1], dtype=np.int8), ["a longer text", "b" * 300])),
], ids=lambda labels: str(labels)[:30])
def test_labels_are_inside(labels, path, tiny_images):
    X, y = tiny_images(labels)
    model = small("ConvNetClassifier", max_epochs=1).fit(X, y)
    found, _ = run(model.to_onnx(path), X[:, None])
    assert found.tolist() == model.predict(X).tolist()
    metadata = {prop.key: json.loads(prop.value) for prop in onnx.load(path).metadata_props}
    assert metadata["classes"] == list(labels)
    assert metadata["class_names"] is None
    assert metadata["image_shape"] == [1, 8, 8]
    assert metadata["value_range"] == [X.min(), X.max()]


DAYS = np.array(["2024-01-01", "2024-01-02"], dtype="datetime64[D]")


@pytest.mark.parametrize("labels", [np.array([1, 2**64 - 1], dtype=np.uint64), DAYS], ids=["uint64", "dates"])
def test_labels_that_onnx_cannot_hold_are_refused(labels, path, tiny_images):
    X, y = tiny_images(labels)
    model = small("ConvNetClassifier", max_epochs=1).fit(X, y)
    with pytest.raises(ValueError, match="y must have held labels of a type that ONNX has"):
        model.to_onnx(path)
    assert not path.exists()


@pytest.mark.parametrize("labels", [["a", "b"], [3, 5]], ids=str)
def test_names_that_are_the_labels_in_another_order_are_refused(labels, path, tiny_images):
    X, y = tiny_images(labels)
    model = small("ConvNetClassifier", max_epochs=1).fit(X, y)
    with pytest.raises(ValueError, match="class_names must be in the order of the classes"):
        model.to_onnx(path, class_names=labels[::-1])
    model.to_onnx(path, class_names=labels)


@real_data
def test_the_pretrained_network_names_garments_elsewhere(path):
    model, test = load_pretrained().set_params(precision="fp32"), load_fashion_mnist("test")
    model.to_onnx(path, class_names=CLASS_NAMES)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    images = test.images[:200, None].astype(np.float32)
    names, labels, probabilities = session.run(["class_name", "label", "probabilities"], {"images": images})
    np.testing.assert_allclose(probabilities, model.predict_proba(test.images[:200]), atol=1e-5)
    assert labels.tolist() == model.predict(test.images[:200]).tolist()
    assert names.tolist() == [CLASS_NAMES[label] for label in labels]
    with pytest.raises(ValueError, match="class_names must name each of the 10 classes, got class_names="):
        model.to_onnx(path, class_names=["a"])


def test_an_exported_program_can_be_saved(tmp_path, tiny_images):
    X, y = tiny_images()
    model = small("ResNetClassifier", max_epochs=1, precision="fp32").fit(X, y)
    torch.export.save(model.to_exported_program(), tmp_path / "model.pt2")
    program = torch.export.load(tmp_path / "model.pt2")
    found = program.module()(torch.from_numpy(X[:, None]).float())
    np.testing.assert_allclose(found, model.predict_proba(X), atol=1e-5)


def test_the_check_is_of_float32_whatever_the_classifier_predicts_in(path, tiny_images):
    X, y = tiny_images(["bag", "coat", "shirt"])
    model = small("ConvNetClassifier", max_epochs=1, precision="bf16").fit(X, y)
    _, probabilities = run(model.to_onnx(path), X[:, None])
    own = model.predict_proba(X)
    assert np.abs(probabilities - own).max() > 1e-5
    np.testing.assert_allclose(probabilities, model.set_params(precision="fp32").predict_proba(X), atol=1e-5)


def test_members_of_an_ensemble_are_exported_one_by_one(path, tiny_images):
    X, y = tiny_images(["bag", "coat", "shirt"])
    ensemble = DeepEnsembleClassifier(small("ConvNetClassifier", max_epochs=1, precision="fp32"), n_members=2,
                                      together=True, random_state=0).fit(X, y)
    probabilities = [run(member.to_onnx(path), X[:, None])[1] for member in ensemble.estimators_]
    np.testing.assert_allclose(np.mean(probabilities, axis=0), ensemble.predict_proba(X), atol=1e-5)


def test_needs_a_fit(path):
    for call in (lambda model: model.to_onnx(path), lambda model: model.to_exported_program()):
        with pytest.raises(NotFittedError):
            call(small("ConvNetClassifier"))


def test_a_network_that_decides_by_values_is_refused(path, tiny_images):
    X, y = tiny_images()
    classifier = ImageClassifier(module=Deciding, max_epochs=1).fit(X, y)
    for export in (classifier.to_exported_program, lambda: classifier.to_onnx(path)):
        with pytest.raises(ValueError, match=r"^module must be a network that torch\.export can .* data-dependent"):
            export()


def test_what_differs_is_not_written(path, tiny_images, monkeypatch):
    X, y = tiny_images()
    model = small("ConvNetClassifier", max_epochs=1).fit(X, y)
    run_session = onnxruntime.InferenceSession.run

    def other_numbers(session, names, inputs):
        return [value + np.float32(1e-3) if value.dtype == np.float32 else value
                for value in run_session(session, names, inputs)]

    def other_labels(session, names, inputs):
        return [value[::-1] for value in run_session(session, names, inputs)]

    for differently, message in ((other_numbers, "differs from PyTorch: "), (other_labels, r"gives the labels \[2, 1")):
        monkeypatch.setattr(onnxruntime.InferenceSession, "run", differently)
        with pytest.raises(RuntimeError, match=rf"The ONNX model {message}.* It was not written"):
            model.to_onnx(path)
        assert not path.exists()


def test_without_the_extra_the_error_names_it(path, tiny_images, monkeypatch):
    model = small("ConvNetClassifier", max_epochs=1).fit(*tiny_images())
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ImportError, match=r"with onnxruntime: pip install 'fmnist_sk\[onnx\]'"):
        model.to_onnx(path)


@pytest.mark.cuda
def test_a_network_on_cuda_is_exported_too(path, tiny_images):
    X, y = tiny_images()
    model = small("ResNetClassifier", max_epochs=1, device="cuda", precision="fp32").fit(X, y)
    _, probabilities = run(model.to_onnx(path), X[:, None])
    np.testing.assert_allclose(probabilities, model.predict_proba(X), atol=1e-3)
    assert next(model.module_.parameters()).device.type == "cuda"
    assert isinstance(model, ImageClassifier)

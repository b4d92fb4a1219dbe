"""The reference systems: sizes to the digit, layers, settings, training."""
import json
import re
from pathlib import Path

import pytest
from scripts import BENCHMARKS
from torch import nn

from fmnist_sk import SigmoidLoss, SoftmaxOfSigmoid, reference_system, reference_systems
from fmnist_sk.datasets import CLASS_NAMES
from fmnist_sk.reference import COMMON_RECIPE, OUR_RECIPE

NORMS = nn.BatchNorm1d, nn.BatchNorm2d


def build(name, **params):
    return reference_system(name, **params).initialize().module_.network


def count(module, *kinds, without=()):
    """Parameters of those layers in `module` that are of `kinds` (default: all), and none of `without`."""
    return sum(parameter.numel() for layer in module.modules()
               if (not kinds or isinstance(layer, kinds)) and not isinstance(layer, without)
               for parameter in layer.parameters(recurse=False))


def test_every_system_of_the_reports_is_there():
    assert list(reference_systems()) == [
        "simple_cnn", "second_cnn", "second_cnn_48_96", "cnn_1", "cnn_2", "cnn_3", "cnn_4", "cnn_5", "four_layer_cnn",
        "resnet_no_max_pool", "inception_v3", "simple_model_1", "simple_model_2", "inception", "resnet",
        "inception_resnet", "patch_mlp"]


def test_report_0():
    assert count(build("simple_cnn")) == 320 + 18496 + (64 * 49 * 128 + 128) + 1290
    for name, maps in (("second_cnn", [32, 32, 64, 64]), ("second_cnn_48_96", [48, 48, 96, 96])):
        assert [layer.out_channels for layer in build(name).modules() if isinstance(layer, nn.Conv2d)] == maps


def test_report_1():
    cnn_1, cnn_2, cnn_3, cnn_4, cnn_5 = (build(f"cnn_{i}") for i in range(1, 6))
    assert count(cnn_1, nn.Conv2d) == 240_256
    assert count(cnn_1, nn.Linear) == 3_807_754
    assert count(cnn_1) == 240_256 + 3_807_754
    assert count(cnn_2, nn.BatchNorm2d) == 704
    assert count(cnn_2) == count(cnn_1) + 704
    assert count(cnn_3) == count(cnn_2)
    assert [layer.p for layer in cnn_3.head if isinstance(layer, nn.Dropout)] == [0.5, 0.5]
    assert [layer.p for layer in cnn_2.head if isinstance(layer, nn.Dropout)] == [0, 0]
    assert count(cnn_4) == 65_994
    assert count(cnn_5) == 1_853_002


def test_report_2():
    pairs = [(layer.out_channels, layer.kernel_size) for layer in build("four_layer_cnn").features
             if isinstance(layer, nn.Conv2d)]
    assert pairs == [(maps, (3, 3)) for maps in (32, 64, 128, 256)]
    assert [type(layer).__name__ for layer in build("four_layer_cnn").features][:4] == [
        "Conv2d", "ReLU", "BatchNorm2d", "MaxPool2d"]
    resnet = build("resnet_no_max_pool")
    assert not any(isinstance(layer, nn.MaxPool2d) for layer in resnet.modules())
    assert sum(isinstance(layer, nn.Conv2d) and layer.kernel_size == (1, 1) for layer in resnet.modules()) == 2
    transfer = reference_systems()["inception_v3"]
    assert transfer.params["weights"] == "imagenet"
    assert transfer.reported == {}


def test_report_3():
    assert count(build("simple_model_1"), without=NORMS) == 82_090
    assert count(build("simple_model_2"), without=NORMS) == 566_218
    assert count(build("resnet"), without=NORMS) == 1_273_802
    assert [type(layer).__name__ for layer in build("simple_model_1").head][:3] == ["Linear", "BatchNorm1d", "ReLU"]
    assert abs(count(build("inception")) / 343_000 - 1) < 0.03
    assert abs(count(build("inception_resnet")) / 982_000 - 1) < 0.03


def test_report_4():
    patch_mlp = build("patch_mlp")
    linear = [(layer.in_features, layer.out_features) for layer in patch_mlp.modules() if isinstance(layer, nn.Linear)]
    assert linear == [(49, 128), (128, 128), (256, 128), (128, 128), *[(128, 64), (64, 128)] * 2, (128, 10)]
    assert patch_mlp.norm.num_features == 49
    assert patch_mlp.stem[0].kernel_size == patch_mlp.stem[0].stride == (4, 4)


def settings(name, *names, setting=None):
    """The values of these parameters."""
    params = reference_system(name, setting).get_params(deep=False)
    return [params[name] for name in names]


@pytest.mark.parametrize("name", [f"cnn_{i}" for i in range(1, 6)])
def test_settings_of_report_1(name):
    assert settings(name, "optimizer", "lr", "weight_decay", "decay_biases", "batch_size", "max_epochs", "schedule",
                    "padding", "rounding", "validation_fraction", "keep_best") == [
        "adam", 4e-3, 1e-3, True, 128, 10, "constant", "valid", "ceil", 1 / 6, True]


def test_settings_of_report_2():
    assert settings("four_layer_cnn", "optimizer", "lr", "dropout", "padding", "validation_fraction", "augment") == [
        "adam", 0.01, 0.5, "same", 0.2, "report_2"]
    assert count(build("four_layer_cnn").head, nn.Linear) == 256 * 256 + 256 + 2570
    assert settings("resnet_no_max_pool", "max_epochs", "augment", "validation_fraction") == [10, None, 0.2]


@pytest.mark.parametrize("name", ["simple_model_1", "simple_model_2", "inception", "resnet", "inception_resnet"])
def test_settings_of_report_3(name):
    assert settings(name, "optimizer", "lr", "weight_decay", "batch_size", "validation_fraction") == [
        "adam", 5e-4, 1e-4, 64, 1 / 15]
    dense = [layer for layer in build(name).modules() if isinstance(layer, nn.Linear)]
    assert [layer.out_features for layer in dense] == [128, 10]
    assert (settings(name, "augment")[0].name, settings(name, "augment")[0].p) == ("report_3", 0.3)


def test_settings_of_report_4():
    assert settings("patch_mlp", "criterion", "optimizer", "lr", "weight_decay", "batch_size", "max_epochs") == [
        "cross_entropy", "adam", 1e-3, 5e-4, 256, 40]


def test_figures_are_those_of_the_reports():
    reported = {name: system.reported for name, system in reference_systems().items()}
    assert reported["simple_cnn"] == {"as it is": 91.42}
    assert reported["second_cnn_48_96"].popitem()[1] == 94.79
    settings = "softmax", "softmax, augmented", "sigmoid", "sigmoid, augmented"
    assert [[reported[f"cnn_{i}"][setting] for setting in settings] for i in range(1, 6)] == [
        [89.16, 89.13, 84.11, 83.38], [90.25, 89.43, 85.85, 86.61], [88.50, 88.37, 81.56, 84.72],
        [86.95, 85.59, 81.20, 79.39], [88.23, 88.01, 85.93, 84.98]]
    names = "simple_model_1", "simple_model_2", "inception", "resnet", "inception_resnet"
    for setting, figures in {
            "validation": [92.15, 93.7, 94.5, 95.0, 94.8], "validation, T-shirt/top": [89.6, 91.0, 90.8, 91.0, 90.75],
            "validation, Trouser": [98.5, 98.85, 99.0, 99.15, 99.25],
            "validation, Shirt": [74.75, 81.0, 83.0, 83.5, 83.75]}.items():
        assert [reported[name][setting] for name in names] == figures
    assert reported["four_layer_cnn"] == {"augmented": 91.35, "augmented, Shirt": 77.0}
    assert reported["patch_mlp"] == {"last epoch": 89.19, "best test epoch": 89.84}


@pytest.mark.parametrize("name", [name for name in reference_systems() if name != "inception_v3"])
def test_trains_and_can_be_changed(name, tiny_images):
    plain = {"augment": None, "schedule": "constant", "validation_fraction": None}
    classifier = reference_system(name, max_epochs=8, lr=1e-3, batch_size=20, random_state=0, **plain)
    X, y = tiny_images(size=max(14, classifier._minimum_size()))
    assert classifier.fit(X, y).history_[-1, "train_acc"] > 0.9
    assert classifier.batch_size == 20


def test_each_figure_has_the_setting_it_was_reached_with():
    systems = reference_systems()
    for name, system in systems.items():
        ours = [] if name == "inception_v3" else [OUR_RECIPE]
        assert set(system.settings) >= {*system.reported, *ours}
        for setting in system.settings:
            reference_system(name, setting)._validate_params()
    assert reference_system("cnn_3", "softmax").criterion == "cross_entropy"
    both = reference_system("cnn_3", "sigmoid, augmented", max_epochs=3)
    assert (both.criterion, both.augment, both.dropout, both.max_epochs) == ("sigmoid", "report_1", 0.5, 3)
    tuned = reference_system("cnn_2", "softmax, augmented, tuned")
    assert (tuned.lr, tuned.weight_decay, tuned.batch_size) == (3.593e-4, 3.593e-4, 64)
    extended = reference_system("second_cnn", "extended dataset, 50 epochs")
    assert (extended.augment.fraction, extended.max_epochs, extended.criterion) == (0.5, 50, "mse")
    for setting, norm in {"as it is": False, "batch norm, parameters changed": True, "batch norm, cross-entropy": True,
                          "extended dataset, 50 epochs": True, "extended dataset, normalised": True}.items():
        assert reference_system("second_cnn", setting).batch_norm is norm
    assert reference_system("second_cnn_48_96").batch_norm is True
    readings = {setting: type(reference_system("cnn_4", setting).initialize().criterion_) for setting in (
        "sigmoid", "sigmoid, summed", "cross-entropy of sigmoids")}
    assert list(readings.values()) == [SigmoidLoss, SigmoidLoss, SoftmaxOfSigmoid]
    assert both.initialize().criterion_.over_classes == "mean"
    probabilities = {p: reference_system("resnet", f"validation, p = {p}").augment.p for p in (0.0, 0.05, 0.5)}
    assert probabilities == {0.0: 0.0, 0.05: 0.05, 0.5: 0.5}
    assert reference_system("resnet").set_params(augment__p=0.1).augment.p == 0.1
    assert reference_system("patch_mlp", "ASGD").optimizer == "asgd"
    assert reference_system("patch_mlp", "constant learning rate").schedule == "constant"
    assert reference_system("patch_mlp", "pixels standardised").standardize is True
    assert reference_system("resnet_no_max_pool", "augmented").augment == "report_2"
    assert reference_system("patch_mlp", "last epoch").keep_best is False
    for name in systems:                    # L2 of reports is PyTorch's, of all parameters
        reports = [reference_system(name, setting) for setting in systems[name].reported]
        assert all(report.decay_biases for report in reports if report.weight_decay), name
        assert name == "inception_v3" or not reference_system(name, OUR_RECIPE).decay_biases
    for name, system in systems.items():
        ranges = {reference_system(name, setting).standardize for setting in (None, *system.reported)}
        assert ranges == {"report 1": {"min_max"}, "report 2": {True} if name == "inception_v3" else {"min_max"}}.get(
            system.source, {"second_cnn": {True, "min_max"}}.get(name, {True} if system.source == "report 3" else {
                "min_max"}))
        assert name == "inception_v3" or reference_system(name, OUR_RECIPE).standardize is True
    for name in ("simple_cnn", "second_cnn", "four_layer_cnn", "simple_model_1", "inception"):      # not reported
        assert reference_system(name).max_epochs == 50
    longest = reference_system("resnet", "focal loss, all training images")
    assert longest.max_epochs * 60_000 / longest.batch_size == pytest.approx(250_000, rel=0.002)
    assert (longest.criterion, longest.validation_fraction) == ("focal", None)
    assert (longest.augment.name, longest.augment.p, longest.weight_decay) == ("report_3", 0.3, 1e-4)


def test_schedules_are_those_of_the_reports():
    trace = reference_system("second_cnn_48_96").schedule.trace(100, 2)
    assert (1e-3 * trace[[0, 99, 100, 199]]).tolist() == pytest.approx([1e-3, 1e-3, 2.5e-4, 2.5e-4])
    for n_epochs in (10, 250):                      # 25 falls, each after 10,000 of 250,000 batches
        trace = reference_system("inception").schedule.trace(n_epochs, 1000)
        assert sorted(set(trace.round(9)), reverse=True) == pytest.approx([0.9**n for n in range(25)])
    assert (5e-4 * trace[[0, 9_999, 10_000, 29_999]]).tolist() == pytest.approx([5e-4, 5e-4, 4.5e-4, 4.05e-4])
    trace = reference_system("patch_mlp").schedule.trace(40, 1)
    assert (1e-3 * trace[[0, 22, 23, 39]]).tolist() == pytest.approx([1e-3, 1e-3, 1e-4, 1e-4])
    with pytest.raises(ValueError, match=r"setting must be None or one of \['softmax', .* got setting='tanh'"):
        reference_system("cnn_1", "tanh")


def test_each_thing_of_the_reports_is_shown_by_a_test_or_a_row():
    lines = [line.strip("| ").split(" | ") for line in (BENCHMARKS / "reports.md").read_text().splitlines()
             if line.startswith("| ") and not line.startswith("| the report")]
    assert len({(thing, here) for thing, here, _ in lines}) == len(lines) > 113
    tests = {f"{path.name}::{name}" for path in Path(__file__).parent.glob("test_*.py")
             for name in re.findall(r"^def (test_\w+)", path.read_text(), re.M)}
    assert {shown for *_, shown in lines} - tests == {"its row"}
    rows = {f"row {name}, {setting}" for name, system in reference_systems().items() for setting in system.reported}
    named = {here for _, here, _ in lines if here.startswith("row ")}
    assert named - rows == {
        "row inception_v3: not run without weights", "row four_layer_cnn, class by class; evaluate.py",
        "row second_cnn, batch norm, cross-entropy"}
    cells = ("softmax", "softmax, augmented", "sigmoid", "sigmoid, augmented")
    assert {row for row in rows - named if "focal loss, all training images, " not in row
            and not row.endswith((*CLASS_NAMES, *cells))} == {"row patch_mlp, best test epoch"}


def test_our_recipes_are_the_best_of_those_that_were_compared(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from choose_reference_recipes import EVERY, accuracies, longest
    runs = json.loads((BENCHMARKS / "results" / "choose_reference_recipes.json").read_text())["runs"]
    systems = reference_systems()
    for name, own in longest(runs).items():
        candidates = list(accuracies(own))
        assert len(candidates) > 1, name
        settings = {**COMMON_RECIPE, **EVERY[candidates[0]]}
        ours = systems[name].settings[OUR_RECIPE]
        assert {key: repr(value) for key, value in ours.items() if key != "max_epochs"} == {
            key: repr(value) for key, value in settings.items() if key != "max_epochs"}, name


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"name must be one of \['cnn_1', .*'simple_model_2'\], got name='vgg'"):
        reference_system("vgg")


def test_what_is_listed_can_be_changed_without_harm():
    reference_systems()["cnn_1"].params["lr"] = 5
    reference_systems()["cnn_1"].reported.clear()
    assert reference_system("cnn_1").lr == 4e-3
    assert reference_systems()["cnn_1"].reported

"""The reference systems: sizes to the digit, layers, settings, training."""
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from scripts import BENCHMARKS
from torch import nn

from fmnist_sk import AugmentedCopies, reference_system, reference_systems
from fmnist_sk.datasets import CLASS_NAMES
from fmnist_sk.reference import COMMON_RECIPE, OUR_RECIPE
from fmnist_sk.schedules import as_schedule

NORMS = nn.BatchNorm1d, nn.BatchNorm2d
CELLS = "softmax", "softmax, augmented", "sigmoid", "sigmoid, augmented"


def build(name, **params):
    return reference_system(name, **params).initialize().module_.network


def count(module, *kinds, without=()):
    """Parameters of those layers in `module` that are of `kinds` (default: all), and none of `without`."""
    return sum(parameter.numel() for layer in module.modules()
               if (not kinds or isinstance(layer, kinds)) and not isinstance(layer, without)
               for parameter in layer.parameters(recurse=False))


def outputs(network):
    """The channels and rows that leave each block of a network's stages, by the block's type."""
    found = []
    stages = network.stages if hasattr(network, "stages") else network.blocks
    for block in stages:
        block.register_forward_hook(lambda block, _, x: found.append((type(block).__name__, *x.shape[1:3])))
    network(torch.zeros(2, 1, 28, 28))
    return found


def dense(network):
    return [(layer.in_features, layer.out_features) for layer in network.modules() if isinstance(layer, nn.Linear)]


def test_every_system_of_the_reports_is_there():
    assert list(reference_systems()) == [
        "simple_cnn", "second_cnn", "second_cnn_48_96", "cnn_1", "cnn_2", "cnn_3", "cnn_4", "cnn_5", "four_layer_cnn",
        "resnet_no_max_pool", "inception_v3", "simple_model_1", "simple_model_2", "inception", "resnet",
        "inception_resnet", "patch_mlp"]


def test_report_0():
    assert count(build("simple_cnn")) == 320 + 18496 + (64 * 49 * 128 + 128) + 1290
    for name, maps in (("second_cnn", [32, 32, 64, 64]), ("second_cnn_48_96", [48, 48, 96, 96])):
        assert [layer.out_channels for layer in build(name).modules() if isinstance(layer, nn.Conv2d)] == maps


def test_report_0s_copies_are_mirrored_images():
    X = np.random.default_rng(0).integers(0, 256, (8, 4, 4))
    copies = reference_system("second_cnn_48_96").augment.set_params(random_state=0)
    X, y = copies.fit_resample(X, np.arange(8) % 2)
    assert len(X) == 12
    mirrored = {image[:, ::-1].tobytes(): label for image, label in zip(X[:8], y, strict=False)}
    assert all(mirrored[image.tobytes()] == label for image, label in zip(X[8:], y[8:], strict=True))


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


def test_blocks_of_report_3():
    networks = {name: build(name) for name in ("inception", "resnet", "inception_resnet")}
    assert {name: [(layer.out_channels, layer.kernel_size, layer.padding) for layer in network.stem
                   if isinstance(layer, nn.Conv2d)] for name, network in networks.items()} == {
        name: [(16, (3, 3), (0, 0)), (last, (3, 3), (0, 0))]
        for name, last in (("inception", 16), ("resnet", 32), ("inception_resnet", 32))}
    assert {name: outputs(network) for name, network in networks.items()} == {
        "inception": [("InceptionBlock", 64, 24), ("Reduction", 96, 12), ("Reduction", 96, 6)],
        "resnet": [*[("Bottleneck", 64, 24)] * 3, ("MaxPool2d", 64, 12), *[("Bottleneck", 128, 12)] * 3,
                   ("MaxPool2d", 128, 6)],
        "inception_resnet": [*[("InceptionResidualBlock", 64, 24)] * 2, ("Reduction", 96, 12),
                             *[("InceptionResidualBlock", 96, 12)] * 2, ("Reduction", 96, 6)]}
    assert (networks["inception"].projection[0].out_channels, networks["inception"].projection[0].kernel_size) == (
        48, (1, 1))
    block = [layer for layer in networks["resnet"].blocks[0].modules() if isinstance(layer, nn.Conv2d)]
    assert sorted((layer.in_channels, layer.out_channels, layer.kernel_size) for layer in block) == [
        (32, 64, (1, 1)), (32, 64, (1, 1)), (64, 64, (1, 1)), (64, 64, (3, 3))]         # one is the shortcut's
    assert {name: dense(network) for name, network in networks.items()} == {
        "inception": [(48 * 36, 128), (128, 10)], "resnet": [(128 * 36, 128), (128, 10)],
        "inception_resnet": [(96 * 36, 128), (128, 10)]}


def test_report_4():
    patch_mlp = build("patch_mlp")
    assert dense(patch_mlp) == [
        (49, 128), (128, 128), (256, 128), (128, 128), *[(128, 64), (64, 128)] * 2, (128, 10)]
    assert patch_mlp.norm.num_features == 49
    assert patch_mlp.stem[0].kernel_size == patch_mlp.stem[0].stride == (4, 4)
    seen = {}
    patch_mlp.blocks.register_forward_hook(lambda _, inputs, x: seen.update(blocks=x))
    patch_mlp.logits.register_forward_hook(lambda _, inputs, x: seen.update(logits=inputs[0]))
    patch_mlp(torch.rand(3, 1, 28, 28))
    torch.testing.assert_close(seen["logits"], seen["blocks"].mean(1))


ONE_OF_EACH_REPORT = "simple_cnn", "cnn_4", "four_layer_cnn", "simple_model_1", "patch_mlp"


@pytest.mark.parametrize("name", [name if name in ONE_OF_EACH_REPORT else
                                  pytest.param(name, marks=pytest.mark.exhaustive)
                                  for name in reference_systems() if name != "inception_v3"])
def test_trains_and_can_be_changed(name, tiny_images):
    plain = {"augment": None, "schedule": "constant", "validation_fraction": None}
    classifier = reference_system(name, max_epochs=8, lr=1e-3, batch_size=20, random_state=0, **plain)
    X, y = tiny_images(size=max(14, classifier._minimum_size()))
    assert classifier.fit(X, y).history_[-1, "train_acc"] > 0.9
    assert classifier.batch_size == 20


def test_schedules_are_those_of_the_reports():
    trace = reference_system("second_cnn_48_96").schedule.trace(100, 2)
    assert (1e-3 * trace[[0, 99, 100, 199]]).tolist() == pytest.approx([1e-3, 1e-3, 2.5e-4, 2.5e-4])
    for n_epochs in (10, 250):                      # 25 rates, each for 10,000 of 250,000 batches
        trace = reference_system("inception").schedule.trace(n_epochs, 1000)
        assert sorted(set(trace.round(9)), reverse=True) == pytest.approx([0.9**n for n in range(25)])
    assert (5e-4 * trace[[0, 9_999, 10_000, 29_999]]).tolist() == pytest.approx([5e-4, 5e-4, 4.5e-4, 4.05e-4])
    trace = reference_system("patch_mlp").schedule.trace(40, 1)
    assert (1e-3 * trace[[0, 22, 23, 39]]).tolist() == pytest.approx([1e-3, 1e-3, 1e-4, 1e-4])


def test_each_thing_of_the_reports_is_shown_by_a_test_or_a_row():
    text = (BENCHMARKS / "reports.md").read_text()
    lines = [line.strip("| ").split(" | ") for line in text.splitlines()
             if line.startswith("| ") and not line.startswith("| the report")]
    assert len({(thing, here) for thing, here, _ in lines}) == len(lines) == int(re.search(r"Of these (\d+)", text)[1])
    tests = {f"{path.name}::{name}" for path in Path(__file__).parent.glob("test_*.py")
             for name in re.findall(r"^def (test_\w+)", path.read_text(), re.M)}
    assert {shown for *_, shown in lines} - tests == {"the table of results"}
    systems = reference_systems()
    rows = {f"row {name}, {setting}": [figure] for name, system in systems.items()
            for setting, figure in system.reported.items()}
    rows |= {f"rows of {name}": [systems[name].reported[cell] for cell in CELLS]
             for name in ("cnn_1", "cnn_2", "cnn_3", "cnn_4", "cnn_5")}
    named = {here: thing for thing, here, _ in lines if here.startswith("row")}
    assert named.keys() - rows.keys() == {"row inception_v3: not run without weights"}
    assert {row for row in rows.keys() - named.keys() if "focal loss, all training images, " not in row
            and not row.endswith((*CLASS_NAMES, *CELLS))} == {"row patch_mlp, best test epoch"}
    for row in named.keys() & rows.keys():                      # the figures are those of the table
        figures = [float(figure) for figure in re.findall(r"\b\d\d\.\d+|\b0\.\d\d\b", named[row])]
        figures = [figure * (100 if figure < 1 else 1) for figure in figures]
        assert figures == pytest.approx(rows[row]), row
    in_table = (BENCHMARKS / "README.md").read_text()
    for row in named.keys() & rows.keys():
        system, _, setting = row.partition(" ")[2].partition(", ")
        if not row.startswith("rows of ") and "Shirt" not in setting:       # which have tables of their own
            assert f"| {system} | {setting} |" in in_table, row
    by_class = [systems[name].reported[f"validation, {label}"] for label in ("T-shirt/top", "Trouser", "Shirt")
                for name in ("simple_model_1", "simple_model_2", "inception", "resnet", "inception_resnet")]
    by_class += [systems["resnet"].reported[f"focal loss, all training images, {label}"] for label in CLASS_NAMES]
    things = [thing for thing, here, _ in lines if here == "table of single classes"]
    assert [float(figure) for thing in things for figure in re.findall(r"\d\d\.\d+", thing)] == by_class


def test_what_has_not_been_run_is_marked_among_the_things_of_the_reports():
    rows = json.loads((BENCHMARKS / "results" / "reference_systems.json").read_text())["rows"]
    for thing, here in re.findall(r"^\| (.*?) \| (.*?) \|", (BENCHMARKS / "reports.md").read_text(), re.M):
        for setting, system in re.findall(r'setting "([^"]+)"(?: of (\w+))?', here):
            runs = [row["runs"] for row in rows if row["setting"] == setting and system in ("", row["system"])]
            assert runs, thing
            assert ("not run yet" in here) == (not any(runs)), thing


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


def test_the_results_are_those_of_todays_settings(monkeypatch):
    """Others are removed when the script next writes its file."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from _reference_rows import settings_of, table
    rows = table()
    for row in json.loads((BENCHMARKS / "results" / "reference_systems.json").read_text())["rows"]:
        today = rows[row["system"], row["setting"]]
        assert row["reported"] == today["reported"]
        for run in row["runs"]:
            assert run["settings"] == settings_of(today), (row["system"], row["setting"])


@pytest.mark.benchmarks
def test_learning_rates_of_runs_are_those_of_their_schedules(monkeypatch):
    """Those that were recorded, and those of older runs that were computed; a rate that follows a loss fell."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from _reference_rows import classifier_of
    computed, traces = 0, {}
    for row in json.loads((BENCHMARKS / "results" / "reference_systems.json").read_text())["rows"]:
        for run in row["runs"]:
            classifier = classifier_of(row)
            assert len(run["lr_of_epochs"]) == run["epochs"]
            schedule = as_schedule(classifier.schedule)
            if schedule.monitored:
                assert min(run["lr_of_epochs"]) < classifier.lr
                continue
            held_out = classifier.validation_fraction or 0
            n_images = 60_000 - (held_out if held_out >= 1 else round(60_000 * held_out))
            if isinstance(classifier.augment, AugmentedCopies):
                n_images += round(n_images * classifier.augment.fraction)
            n_steps = math.ceil(n_images / classifier.batch_size)
            key = repr(schedule), run["epochs"], n_steps
            if key not in traces:
                traces[key] = schedule.trace(run["epochs"], n_steps)[n_steps - 1::n_steps]
            assert run["lr_of_epochs"] == pytest.approx(classifier.lr * traces[key], rel=1e-5), row["setting"]
            computed += run.get("lr_of_epochs_computed", False)
    page = (BENCHMARKS / "README.md").read_text()
    assert f"Learning rates of {computed} older runs" in page if computed else "Learning rates of" not in page


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"name must be one of \['cnn_1', .*'simple_model_2'\], got name='vgg'"):
        reference_system("vgg")


def test_what_is_listed_can_be_changed_without_harm():
    reference_systems()["cnn_1"].params["lr"] = 5
    reference_systems()["cnn_1"].reported.clear()
    assert reference_system("cnn_1").lr == 4e-3
    assert reference_systems()["cnn_1"].reported

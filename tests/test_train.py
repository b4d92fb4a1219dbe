"""examples/train.py: settings from the command line, one run, everything written down."""
import json
import re
import signal
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from fashion import real_data
from scripts import EXAMPLES
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from trained import FASHION, digest

import fmnist_sk
from fmnist_sk import (
    CLASS_NAMES,
    AugmentedCopies,
    ConvNetClassifier,
    Exponential,
    FocalLoss,
    MixUp,
    MultiStep,
    RandomCrop,
    reference_system,
)
from fmnist_sk.recipes import RECIPES

SCRIPT = EXAMPLES / "train.py"
SYSTEMS = fmnist_sk.reference_systems()
ISSUE = ["--model", "cnn_1", "--batch-size", "128", "--lr", "0.004", "--weight-decay", "0.001", "--augment",
         "--loss_type", "sigmoid"]
SMALL = ["--model", "simple_cnn", "--n-train", "300", "--set", "architecture=8C3-MP2-16C3-MP2"]


@pytest.fixture(scope="module")
def issue(train, tmp_path_factory):
    """The folder of a run as the request for this script has it, on few images."""
    folder = tmp_path_factory.mktemp("issue")
    train.main([*ISSUE, "--epochs", "2", "--n-train", "300", "--output", str(folder)])
    return folder


def settings(train, *options):
    return train.configure(train.parse(list(options), "")[1])


def test_help_says_what_the_script_does(train, capsys):
    with pytest.raises(SystemExit):
        train.main(["--help"])
    out = capsys.readouterr().out
    assert "Train any network with any settings, and write down everything about the run." in out
    assert "--batch_size 128 --lr 4e-3" in out


# ---------------------------------------------------------------------- values and their texts

@pytest.mark.parametrize(("text", "value"), [
    ("3", 3), ("1e-3", 0.001), ("-2", -2), ("none", None), ("True", True), ("fashion", "fashion"),
    ("32C3-MP2-64N", "32C3-MP2-64N"), ("cuda:0", "cuda:0"), ("/a path/x.pth", "/a path/x.pth"),
    ("os.system", "os.system"),
    ("(0.9, 0.95)", (0.9, 0.95)), ("[1, 'a', None, -3.5]", [1, "a", None, -3.5]), ("{6: 2.0}", {6: 2.0}), ("'3'", "3"),
    ("(1,)", (1,)), ("()", ()),
])
def test_values(values, text, value):
    found = values.evaluate(text)
    assert (type(found), found) == (type(value), value)


def test_objects(values):
    crop, mix = values.evaluate('[{"RandomCrop": {"padding": 2}}, {"MixUp": {"alpha": 0.4}}]')
    assert isinstance(crop, RandomCrop)
    assert crop.padding == 2
    assert isinstance(mix, MixUp)
    assert mix.alpha == 0.4
    schedule = values.evaluate("{'Exponential': {'factor': 0.9, 'every': 10000, 'per': 'batch'}}")
    assert isinstance(schedule, Exponential)
    assert schedule.get_params() == {"factor": 0.9, "every": 10000, "per": "batch"}


@pytest.mark.parametrize("text", [
    "__import__('os')", "__import__('os').system('true')", "RandomCrop.__class__()", "(lambda: 1)()", "load_csv('x')",
    "RandomCrop(**{'padding': 2})", "RandomCrop(*[2])", "RandomCrop(padding=os)", "[x for x in (1, 2)]", "{**{}}",
    "{1, 2}", "(1 + 2)", "'a' * 99", "f'{1}'", "(b'x',)", "[...]", "(1j,)", "RandomCrop(", "RandomCrop(wibble=1)",
    "(" * 500, f"({'-' * 99999}1)", "FocalLoss(gamma=-1)", '{"RandomCrop": {"wibble": 1}}',
    '{"FocalLoss": {"gamma": -1}}', '[{"load_csv": {"path": "x"}}, {1}]', "(padding := 2)", "print('x')",
    "exec('x')", "{[]: 1}",
])
def test_anything_else_is_refused_and_never_run(train, text, capsys):
    with pytest.raises(SystemExit) as stop:
        train.parse(["--augment", text], "")
    assert stop.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert re.search(r"error: argument --augment: .* cannot be used: ", captured.err.splitlines()[-1])


@pytest.mark.parametrize("value", [
    0.1, None, True, "fashion", "3", "none", "a, b", (), (1,), (0.9, 0.95), [1, (2, "x")], {6: 2.0, "a": [None]},
    MultiStep(tuple(range(1, 60)), factor=0.5), [RandomCrop(padding=i) for i in range(1, 60)], FocalLoss(1.5, [1, 2]),
    AugmentedCopies(0.5, [RandomCrop(padding=2, only=list(range(40)))], exclude=["Ankle boot", "it's"]),
], ids=lambda value: str(value)[:30])
def test_texts_are_read_back_whole(values, value):
    text = json.loads(json.dumps(values.as_json("x", value)))
    again = values.from_json(text)
    assert type(again) is type(value)
    assert values.as_json("x", again) == text
    if isinstance(value, list) and len(value) == 59:
        assert [crop.padding for crop in again] == [crop.padding for crop in value]


def test_every_model_setting_and_recipe_can_be_written_to_a_config(values):
    settings = [changes for system in SYSTEMS.values() for changes in system.settings.values()]
    for params in [system.params for system in SYSTEMS.values()] + list(RECIPES.values()) + settings:
        for name, value in params.items():
            text = json.loads(json.dumps(values.as_json(name, value)))
            assert values.as_json(name, values.from_json(text)) == text
    with pytest.raises(ValueError, match=r"schedule=<object .* cannot be written to config\.json"):
        values.as_json("schedule", object())


# ---------------------------------------------------------------------- settings

@pytest.mark.parametrize(("options", "expected"), [
    ([], {"validation_fraction": 0.1}),
    (["--model", "cnn_1"], {"lr": 4e-3, "weight_decay": 1e-3, "validation_fraction": 1 / 6}),
    (["--model", "cnn_1", "--validation-fraction", "none"], {"validation_fraction": None}),
    (["--validation-fraction", "500"], {"validation_fraction": 500}),
    (["--recipe", "fashion", "--max-epochs", "3"], {"augment": "fashion", "max_epochs": 3}),
    (["--recipe", "fashion", "--augment", "none"], {"augment": None}),
    (["--model", "cnn_1", "--augment"], {"augment__name": "report_1", "augment__p": None}),
    (["--model", "resnet", "--augment", "--set", "augment__p=0.5"], {"augment__name": "report_3", "augment__p": 0.5}),
    (["--model", "CNN_1", "--augment_data", "true", "--set", "augment__p=0.1"], {
        "augment__name": "report_1", "augment__p": 0.1}),
    (["--augment_data", "False", "--augment", "none", "--epochs", "3", "--num_epochs", "3"], {
        "augment": None, "max_epochs": 3}),
    (["--model", "CNN_1", "--batch_size", "64", "--lr", "1e-3", "--rs", "1e-4", "--num_epochs", "3", "--augment_data",
      "True", "--loss_type", "softmax"], {"batch_size": 64, "lr": 1e-3, "weight_decay": 1e-4, "max_epochs": 3,
                                          "augment__name": "report_1", "criterion": "cross_entropy"}),
    (["--model=CNN_5", "--augment_data", "False", "--loss_type", "sigmoid"], {
        "augment": None, "criterion": "sigmoid", "criterion__over_classes": "mean"}),
    (["--model", "cnn_4", "--setting", "sigmoid", "--loss_type", "softmax"], {"criterion": "cross_entropy"}),
    (["--model", "cnn_4", "--setting", "sigmoid", "--loss", "focal"], {"criterion": "focal"}),
    (["--loss_type", "sigmoid"], {"criterion": "sigmoid", "criterion__over_classes": "mean"}),
    (["--model", "cnn_4", "--setting", "sigmoid", "--set", "criterion__over_classes=sum"], {
        "criterion": "sigmoid", "criterion__over_classes": "sum"}),
    (["--model", "four_layer_cnn", "--augment"], {"augment__name": "report_2"}),
    (["--model", "simple_model_1", "--augment"], {"augment__name": "report_3"}),
    (["--model", "simple_cnn", "--augment"], {"augment__name": "fashion"}),
    (["--augment"], {"augment__name": "fashion"}),
    (["--augment", "strong"], {"augment": "strong"}),
    (["--model", "cnn_2", "--setting", "sigmoid, augmented"], {"criterion": "sigmoid", "augment__name": "report_1"}),
    (["--model", "cnn_2", "--setting", "softmax, augmented, tuned", "--lr", "0.1"], {"lr": 0.1, "batch_size": 64}),
    (["--epochs", "3", "--ema", "0.99", "--sam-rho", "0.05", "--tta", "('mirror', 'shift')", "--label-smoothing", "0",
      "--optimizer", "adam", "--precision", "fp32", "--device", "cpu", "--schedule", "cosine"],
     {"max_epochs": 3, "ema": 0.99, "sam_rho": 0.05, "tta": ("mirror", "shift"), "label_smoothing": 0,
      "optimizer": "adam", "precision": "fp32", "device": "cpu", "schedule": "cosine"}),
    (["--swa", "0.5", "--lr", "0.2", "--set", "lr=0.2", "--set", "width=16"], {"swa": 0.5, "lr": 0.2, "width": 16}),
    (["--loss", "focal", "--set", "criterion__gamma=1", "--set", "optimizer__dampening=0.0"],
     {"criterion": "focal", "criterion__gamma": 1, "optimizer__dampening": 0.0}),
    (["--augment", '{"RandomCrop": {}}', "--set", "augment__padding=3"], {"augment__padding": 3}),
])
def test_options_set_parameters(train, options, expected, tmp_path):
    classifier, config = settings(train, *options)
    params = classifier.get_params()
    assert {name: params[name] for name in expected} == expected
    # What was written gives the same classifier again.
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config))
    again, same = settings(train, "--config", str(path))
    assert same == config
    assert str(again) == str(classifier)
    assert {name: again.get_params()[name] for name in expected} == expected


@pytest.mark.parametrize(("options", "expected"), [
    (["--loss", "sigmoid"], "sum"), (["--loss_type", "sigmoid"], "mean"),
    (["--setting", "sigmoid, summed", "--loss", "sigmoid"], "sum"),
    (["--setting", "sigmoid", "--loss", "sigmoid"], "mean"),
    (["--setting", "sigmoid, summed", "--loss_type", "sigmoid"], "mean"),
])
def test_loss_is_the_settings_own_and_loss_type_the_reports(train, options, expected):
    classifier, _ = settings(train, "--model", "cnn_4", *options)
    assert classifier.initialize().criterion_.over_classes == expected


def test_options_change_one_classifier_only(train):
    changed, _ = settings(train, "--model", "resnet", "--set", "augment__p=0.5")
    other, _ = settings(train, "--model", "resnet", "--setting", "validation, class weight 2")
    assert (changed.augment.p, other.augment.p) == (0.5, 0.3)


def test_options_override_a_config(train, tmp_path):
    path = tmp_path / "config.json"
    _, config = settings(train, "--model", "cnn_4", "--augment", "--n-train", "500", "--seed", "7", "--lr", "0.1")
    path.write_text(json.dumps(config))
    classifier, other = settings(train, "--config", str(path), "--lr", "0.2", "--n-train", "600", "--augment", "light")
    assert classifier.random_state == 7
    assert other == {**config, "data": {"n_train": 600, **FASHION},
                     "params": {**config["params"], "lr": 0.2, "augment": "light"}}
    assert settings(train, "--config", str(path), "--seed", "8")[1]["seed"] == 8


def test_a_setting_beside_a_config_is_the_whole_training(train, tmp_path):
    path = tmp_path / "config.json"
    _, config = settings(train, "--model", "cnn_4", "--setting", "sigmoid, augmented", "--lr", "0.1", "--seed", "7",
                         "--n-train", "500")
    path.write_text(json.dumps(config))
    for name in SYSTEMS["cnn_4"].settings:
        _, alone = settings(train, "--model", "cnn_4", "--setting", name, "--batch-size", "64")
        _, beside = settings(train, "--config", str(path), "--setting", name, "--batch-size", "64")
        assert beside == {**config, "params": alone["params"]}


@pytest.mark.parametrize(("options", "expected"), [
    (["--model", "CNN_4"], ["softmax"]),
    (["--model", "cnn_4", "--loss_type", "sigmoid", "--augment_data", "True", "--device", "cpu"],
     ["sigmoid, augmented"]),
    (["--model", "cnn_4", "--setting", "sigmoid", "--augment_data", "True"], ["sigmoid, augmented"]),
    (["--model", "cnn_4", "--setting", "sigmoid", "--lr", "0.1"], []),
    (["--model", "cnn_4", "--setting", "our recipe"], []),
    (["--model", "simple_model_1"], ["validation", "validation, T-shirt/top", "validation, Trouser",
                                     "validation, Shirt"]),
])
def test_figures_of_the_same_settings_are_marked(train, options, expected):
    _, config = settings(train, *options)
    lines = train.reported(json.loads(json.dumps(config)))
    system = SYSTEMS[config["model"]]
    assert lines == [f"  {system.source}, {name}: {value} %{', these settings' if name in expected else ''}"
                     for name, value in system.reported.items()]
    assert train.reported(settings(train)[1]) == []


@pytest.mark.parametrize("options", [["--n-train", "300"], ["--size", "32"], ["--color", "rgb"]])
def test_figures_are_not_those_of_fewer_or_other_images(train, options):
    _, config = settings(train, "--model", "cnn_4", *options)
    lines = train.reported(config)
    assert [line.endswith(" %") for line in lines] == [True] * 4


def test_pictures_of_ones_own_are_not_compared_with_a_report(train):
    assert train.reported(settings(train, "--model", "cnn_4", "--folder", "pictures")[1]) == []
    assert train.reported(settings(train, "--model", "cnn_4", "--csv", "images.csv")[1]) == []


def test_a_config_of_other_versions_is_used_with_a_word(train, tmp_path, capsys):
    _, config = settings(train)
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**config, "versions": {"torch": "1.0"}}))
    assert settings(train, "--config", str(path))[1] == config
    assert "{'torch': '1.0'}" in capsys.readouterr().out


@pytest.mark.parametrize(("options", "message"), [
    (["--model", "vgg"], "argument --model: invalid choice: 'vgg'"),
    (["--setting", "softmax"], "--setting is for the reference systems with settings (simple_cnn, "),
    (["--model", "inception_v3", "--setting", "our recipe"], "with settings (simple_cnn, "),
    (["--setting", "softmax"], "patch_mlp), got --setting 'softmax' for ResNetClassifier"),
    (["--model", "cnn_1", "--recipe", "fast"], "--recipe fast is for models with stem, such as ResNetClassifier, got "
                                               "cnn_1"),
    (["--model", "simple_cnn", "--setting", "x"],
     "--setting must be one of ['mean squared error', 'our recipe'] for simple_cnn, got 'x'"),
    (["--set", "widht=3"], "Invalid parameter 'widht' for estimator ResNetClassifier"),
    (["--set", "augment__p=3"], "augment__p needs an object with parameters, got augment='light'"),
    (["--set", "optimizer__bettas=3"], "optimizer has no argument bettas: SGD takes"),
    (["--set", "lr"], "'lr' is not NAME=VALUE"),
    (["--set", "random_state=1"], "'random_state=1' is not NAME=VALUE with a parameter that can be set here"),
    (["--set", "callbacks=disable"], "can be set here"),
    (["--lr", "-1"], "'lr' parameter of ResNetClassifier must be a float in the range"),
    (["--augment", "wibble"], "augment must be None, one of"),
    (["--schedule", '{"Cosine": {"warmup": 3}}'], "'warmup' parameter of Cosine must be"),
    (["--loss", "hinge"], "argument --loss: invalid choice: 'hinge'"),
    (["--loss", "focal", "--loss_type", "softmax"], "argument --loss_type: not allowed with argument --loss"),
    (["--model", "CNN_6"], "argument --model: invalid choice: 'CNN_6'"),
    (["--seed", "-1"], "'random_state' parameter of ResNetClassifier must be"),
    (["--config", "nowhere.json"], "there is none at 'nowhere.json'"),
    (["--config", str(SCRIPT)], "train.py is not JSON: Expecting value"),
    (["--rs", "-1"], "(--rs sets weight_decay)"), (["--rs", "nan"], "Got 'nan' instead. (--rs sets weight_decay)"),
    (["--num_epochs", "0"], "(--num_epochs sets max_epochs)"),
    *((["--augment_data", value], f"argument --augment_data: must be True or False, got '{value}'")
      for value in ("yes", "1", "0", "Maybe")),
    (["--epochs", "3", "--num_epochs", "5"],
     "--epochs and --num_epochs contradict each other: give one of them, got 3 and 5"),
    (["--augment_data", "True", "--augment", "none"], "--augment_data and --augment contradict each other"),
    (["--num_epochs", "3", "--set", "max_epochs=5"],
     "max_epochs is given twice, as 3 and with --set as 5: give one of them"),
    (["--set", "width=8", "--set", "width=16"], "width is given twice, as 8 and with --set as 16"),
    (["--loss_type", "sigmoid", "--set", "criterion=mse"], "criterion is given twice, as 'sigmoid' and with --set as"),
    (["--loss_type", "sigmoid", "--set", "criterion__over_classes=sum"],
     "criterion__over_classes is given twice, as 'mean' and with --set as 'sum'"),
    (["--num", "5"], "unrecognized arguments: --num 5"),        # --num_epochs, and not --n-train
    (["--ema", "0.9", "--swa", "0.5"], "ema and swa exclude each other"),
])
def test_mistakes_end_with_one_message(train, options, message, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        train.main(["--n-train", "300", *options, "--output", str(tmp_path / "output")])
    assert stop.value.code == 2
    assert message in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "output").exists()


WHOLE = {"model": "simple_cnn", "params": {}, "data": {"n_train": 300, "data_home": None}}


@pytest.mark.parametrize(("content", "message"), [
    ("[]", "is not a config.json of this script"),
    ("{}", "is not a config.json of this script"),
    ("[" * 200_000, "config.json is not JSON: maximum recursion depth exceeded"),
    ({**WHOLE, "model": "vgg"}, "or names an unknown model"),
    ({"model": "cnn_1"}, "is not a config.json of this script"),
    ({**WHOLE, "params": {"augment": "print(1)"}}, "augment must be None, one of"),
    ({**WHOLE, "params": {"callbacks": "disable", "callbacks__valid_acc": None}},
     "callbacks__valid_acc cannot be set to [None]: no such callback with callbacks='disable'."),
    ({**WHOLE, "data": None}, "config.json: data must hold n_train and data_home, got None."),
    ({**WHOLE, "data": [1]}, "config.json: data must hold n_train and data_home, got [1]."),
    ({**WHOLE, "data": {"wibble": 1}}, "config.json: data must hold n_train and data_home, got {'wibble': 1}."),
    ({**WHOLE, "data": {"n_train": 5}}, "config.json: data must hold n_train and data_home, got {'n_train': 5}."),
    ({**WHOLE, "data": {"n_train": None, "data_home": "~nosuchuser/x"}},
     "data_home must be in the home folder of an existing user, got data_home='~nosuchuser/x'."),
    ({**WHOLE, "seed": None}, "config.json: seed must be a whole number, got None."),
], ids=lambda value: str(value)[:99])
def test_a_damaged_config_ends_with_one_message(train, content, message, tmp_path, capsys):
    path = tmp_path / "config.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(SystemExit) as stop:
        train.main(["--config", str(path), "--output", str(tmp_path / "output")])
    assert stop.value.code == 2
    assert message in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "output").exists()
    with pytest.raises(SystemExit):
        train.main(["--config", str(path), "--model", "cnn_1"])
    assert "--model cannot be given beside --config" in capsys.readouterr().err


# ---------------------------------------------------------------------- runs

@real_data
def test_the_run_of_the_request(issue):
    config = json.loads((issue / "config.json").read_text())
    assert config["model"] == "cnn_1"
    assert config["seed"] == 0
    assert config["data"] == {"n_train": 300, **FASHION}
    left_out = {"module", "random_state", "checkpoint", "checkpoint_every", "callbacks", "verbose"}
    assert set(config["params"]) == set(reference_system("cnn_1", "sigmoid").get_params(deep=False)) - left_out | {
        "criterion__over_classes"}
    assert config["params"].items() >= {"lr": 0.004, "weight_decay": 0.001, "max_epochs": 2, "optimizer": "adam",
                                        "augment": {"Preset": {"name": "report_1", "p": None}},
                                        "criterion": "sigmoid", "criterion__over_classes": "mean"}.items()
    assert set(config["versions"]) == {"fmnist_sk", "torch", "scikit-learn"}
    for name in ("curves", "class_history", "schedule"):
        assert (issue / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert not (issue / "checkpoint").exists()

    model = fmnist_sk.load(issue / "model.safetensors")
    assert (model.lr, model.batch_size, model.criterion, model.random_state) == (0.004, 128, "sigmoid", 0)
    assert (model.checkpoint, model.callbacks) == (None, None)
    history = pd.read_csv(issue / "history.csv")
    assert history.epoch.tolist() == [1, 2]
    assert history.train_loss.tolist() == model.history_[:, "train_loss"]
    classes = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]
    assert list(history.columns) == ["epoch", "train_loss", "train_acc", "valid_loss", "valid_acc", "lr", "dur",
                                     *(f"valid_acc: {name}" for name in classes)]
    assert history.iloc[:, 7:].to_numpy().tolist() == [[row[f"valid_class_acc_{code}"] for code in range(10)]
                                                       for row in model.history_]

    results = json.loads((issue / "results.json").read_text())
    assert results["best_epoch"] == model.best_epoch_
    assert results["validation_accuracy"] == history.valid_acc.max()
    assert results["epochs"] == 2
    assert results["parameters"] == 4_048_010
    assert results["seconds"] == pytest.approx(history.dur.sum())
    assert list(results["test_accuracy_of_each_class"]) == classes


@real_data
def test_test_images_are_scored(train, issue):
    model, results = fmnist_sk.load(issue / "model.safetensors"), json.loads((issue / "results.json").read_text())
    test = train.load("test", None, 0, **FASHION)
    hits = model.predict(test.images) == test.target
    assert results["test_accuracy"] == hits.mean()
    assert results["test_accuracy_of_each_class"] == {name: hits[test.codes == code].mean()
                                                        for code, name in enumerate(CLASS_NAMES)}


@real_data
def test_results_are_those_of_the_epoch_whose_weights_are_kept(train, issue, capsys):
    model = fmnist_sk.load(issue / "model.safetensors")
    test = train.load("test", None, 0, **FASHION)
    for number, row in enumerate(model.history_, 1):
        row.update(train_acc=number / 10, valid_acc=number / 5)
    for best in (1, 2):
        model.best_epoch_ = best
        results = train.evaluation(model, test)
        assert (results["training_accuracy"], results["validation_accuracy"]) == (best / 10, best / 5)
        assert f"validation accuracy: {best / 5:.4f}" in capsys.readouterr().out
    model.set_params(keep_best=False).best_epoch_ = 1
    results = train.evaluation(model, test)
    assert (results["training_accuracy"], results["validation_accuracy"]) == (0.2, 0.4)
    assert "weights: those of epoch" not in capsys.readouterr().out
    del model.best_epoch_
    assert train.evaluation(model, test)["training_accuracy"] == 0.2


@real_data
def test_a_config_repeats_its_run_bit_for_bit(train, issue, tmp_path, capsys):
    train.main(["--config", str(issue / "config.json"), "--output", str(tmp_path)])
    assert digest(tmp_path) == digest(issue)
    assert (tmp_path / "config.json").read_bytes() == (issue / "config.json").read_bytes()
    out = capsys.readouterr().out
    for text in ("train_loss", "precision    recall", "test accuracy: 0.", "weights: those of epoch ",
                 "report 1, sigmoid, augmented: 83.38 %", f"wrote {tmp_path / 'model.safetensors'}"):
        assert text in out


@real_data
def test_n_train_takes_all_classes_alike(train):
    data = train.load("train", 200, 1, **FASHION)
    assert data.images.shape == (200, 28, 28)
    assert np.bincount(data.codes).tolist() == [20] * 10
    assert not np.array_equal(train.load("train", 200, 2, **FASHION).images, data.images)
    assert len(train.load("train", None, 0, **FASHION).images) == 60_000
    with pytest.raises(ValueError, match="--n-train 5: "):
        train.load("train", 5, 0, **FASHION)


@real_data
def test_without_validation_images(train, tmp_path):
    train.main([*SMALL, "--epochs", "1", "--validation-fraction", "none", "--output", str(tmp_path)])
    assert "valid" not in (tmp_path / "history.csv").read_text()
    assert not (tmp_path / "class_history.png").exists()
    assert (tmp_path / "curves.png").exists()
    assert json.loads((tmp_path / "results.json").read_text())["best_epoch"] is None


@real_data
def test_ctrl_c_and_the_same_command_again_give_the_same_model(train, tmp_path, capsys, heeds_ctrl_c):
    command = [*SMALL, "--epochs", "12", "--n-train", "1500", "--augment", "--schedule", "cosine"]
    stopped, whole = tmp_path / "stopped", tmp_path / "whole"
    process = subprocess.Popen([sys.executable, str(SCRIPT), *command, "--output", str(stopped)], text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    for line in process.stdout:
        if re.match(r"\s+2\s", line):
            process.send_signal(signal.SIGINT)
            break
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "The same command continues where this run stopped." in out
    assert "Traceback" not in err
    assert list((stopped / "checkpoint").rglob("*.safetensors"))
    assert not (stopped / "results.json").exists()

    train.main([*command, "--output", str(stopped)])
    assert "resuming after epoch" in capsys.readouterr().out
    train.main([*command, "--output", str(whole)])
    assert digest(stopped) == digest(whole)
    assert len(pd.read_csv(whole / "history.csv")) == 12


@real_data
def test_a_run_whose_folder_another_takes_writes_to_the_next(train, tmp_path, monkeypatch):
    folder, command = tmp_path / "run", [*SMALL, "--epochs", "1", "--output"]
    original = ConvNetClassifier.fit

    def fit(net, X, y):
        (folder / "config.json").write_text("another's")
        return original(net, X, y)

    monkeypatch.setattr(ConvNetClassifier, "fit", fit)
    train.main([*command, str(folder)])
    assert [path.name for path in folder.iterdir() if path.is_file()] == ["config.json"]
    assert {*train.WRITTEN} <= {path.name for path in (tmp_path / "run-2").iterdir()}
    assert json.loads((tmp_path / "run-2" / "config.json").read_text())["model"] == "simple_cnn"


@real_data
def test_ctrl_c_ends_the_run_even_inside_a_callback(train, tmp_path, monkeypatch, capsys, heeds_ctrl_c):
    def on_epoch_end(self, net, **kwargs):
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(ConvNetClassifier, "_default_callbacks",
                        [("stops", type("Stops", (train.Callback,), {"on_epoch_end": on_epoch_end})())])
    with pytest.raises(SystemExit) as stop:
        train.main([*SMALL, "--epochs", "2", "--output", str(tmp_path)])
    assert stop.value.code == 130
    assert not (tmp_path / "model.safetensors").exists()


@real_data
@pytest.mark.parametrize("file", [
    pytest.param("model.safetensors", marks=pytest.mark.exhaustive), "results.json"])
def test_a_training_whose_files_cannot_be_written_is_not_lost(train, file, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(train, "check_free", lambda *args, **kwargs: None)      # as if the folder came later
    command = [*SMALL, "--epochs", "2", "--tensorboard", "--output"]
    failed, whole = tmp_path / "failed", tmp_path / "whole"
    (failed / file).mkdir(parents=True)
    (failed / "checkpoint" / "of other settings").mkdir(parents=True)
    with pytest.raises(SystemExit) as stop:
        train.main([*command, str(failed)])
    assert stop.value.code == 2
    assert re.search(rf"error: .*{failed / file}", capsys.readouterr().err.splitlines()[-1])
    (failed / file).rmdir()
    train.main([*command, str(failed)])
    assert "this fit is complete, with 2 epochs" in capsys.readouterr().out
    assert [path.name for path in (failed / "checkpoint").iterdir()] == ["of other settings"]
    train.main([*command, str(whole)])
    assert digest(failed) == digest(whole)


# ---------------------------------------------------------------------- TensorBoard

@real_data
def test_tensorboard_gets_every_epoch_and_class(train, tmp_path):
    train.main([*SMALL, "--epochs", "2", "--tensorboard", "--output", str(tmp_path)])
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    history = pd.read_csv(tmp_path / "history.csv")
    for column in history.columns.drop("epoch"):
        scalars = events.Scalars(column.replace(": ", "/"))
        assert [scalar.step for scalar in scalars] == [1, 2]
        np.testing.assert_allclose([scalar.value for scalar in scalars], history[column], rtol=1e-6)
    assert fmnist_sk.load(tmp_path / "model.safetensors").callbacks is None


def test_without_tensorboard_the_message_names_it(train, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(SystemExit, match=r"pip install 'fmnist_sk\[tensorboard\]'"):
        train.open_tensorboard(tmp_path)

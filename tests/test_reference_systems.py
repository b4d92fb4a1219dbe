"""The benchmark of the reports' systems: every figure has a row, and no fit is lost or embellished."""
import contextlib
import json
import re
import shutil
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from fashion import first_images, real_data
from scripts import BENCHMARKS
from skorch.history import History

from fmnist_sk import ConvNetClassifier, ImageClassifier, reference_system, reference_systems

pytestmark = pytest.mark.benchmarks


@pytest.fixture
def script(tmp_path, monkeypatch):
    """The script on 600 images, as a function of its options that returns its rows."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.chdir(tmp_path)
    import _measure
    import reference_systems as module
    monkeypatch.setattr(_measure, "RESULTS", tmp_path)

    def run(*options):
        monkeypatch.setattr(sys, "argv", ["reference_systems.py", *map(str, options)])
        module.main()
        rows = json.loads((tmp_path / "reference_systems.json").read_text())["rows"]
        return {(row["system"], row["setting"]): row for row in rows}

    monkeypatch.setattr(module, "load_fashion_mnist", first_images)
    run.module, threads = module, torch.get_num_threads()
    yield run
    torch.set_num_threads(threads)


def test_every_figure_of_the_reports_has_a_row(script):
    rows = script.module.table()
    for name, system in reference_systems().items():
        own = [row for (other, _), row in rows.items() if other == name and row["setting"] != "our recipe"]
        assert len(own) == len({str(changes) for changes in system.settings.values()} or {0}) - (name != "inception_v3")
        assert {setting: value for row in own for setting, value in row["reported"].items()} == system.reported
        assert sum(len(row["reported"]) for row in own) == len(system.reported)
        assert ((name, "our recipe") in rows) == (name != "inception_v3")
    assert sum(row["report"] == "report 1" and len(row["reported"]) == 1 for row in rows.values()) == 21
    assert list(rows["resnet", "validation"]["reported"]) == [
        "validation", "validation, T-shirt/top", "validation, Trouser", "validation, Shirt"]


@real_data
def test_a_fit_that_takes_too_long_says_so(script, capsys):
    rows = script("--only", "cnn_4", "--settings", "reported", "--minutes", 1e-6)
    assert len(rows) == len(script.module.table())
    row = rows["cnn_4", "softmax"]
    assert row["status"] == "schedule compressed from 10 into 1 epochs"
    assert len(row["runs"][0]["valid_acc_of_epochs"]) == row["runs"][0]["epochs"] == 1
    assert rows["cnn_4", "our recipe"]["status"] == rows["cnn_2", "softmax"]["status"] == "not run"
    assert "0 rows complete" in capsys.readouterr().out.splitlines()[-1]
    options = "--only", "cnn_4", "--settings", "reported", "--resume", "--minutes"
    assert script(*options, 1e-6)["cnn_4", "softmax"]["runs"] == row["runs"]
    again = script(*options, 30)["cnn_4", "softmax"]
    assert again["status"] == "complete"
    assert again["runs"][0]["train_loss_of_epochs"][0] == row["runs"][0]["train_loss_of_epochs"][0]
    assert script(*options, 1e-6)["cnn_4", "softmax"] == again
    anew = "--only", "cnn_4", "--settings", "reported", "--minutes", 1e-6
    assert script(*anew)["cnn_4", "softmax"] == again       # a fit that was only begun replaces none that is whole
    assert "cnn_4, softmax, seed 0: the earlier fit had more epochs and is kept" in capsys.readouterr().out


@real_data
def test_a_teacher_is_trained_once_although_the_fit_begins_again(script, monkeypatch):
    from fmnist_sk.reference import _SYSTEMS
    seen = []

    class Teacher(ConvNetClassifier):
        def on_epoch_end(self, net, dataset_train=None, **kwargs):
            seen.append(len(dataset_train))
            return super().on_epoch_end(net, dataset_train=dataset_train, **kwargs)

    teacher = Teacher(architecture="4C3-MP2-8N", max_epochs=2, random_state=0)
    for name, value in {"teacher": teacher, "teacher_weight": 0.9, "max_epochs": 3}.items():
        monkeypatch.setitem(_SYSTEMS["cnn_4"].settings["our recipe"], name, value)
    row = script("--only", "cnn_4", "--settings", "ours", "--minutes", 1e-6)["cnn_4", "our recipe"]
    assert row["status"] == "schedule compressed from 3 into 1 epochs"
    assert "teacher=Teacher(" in row["runs"][0]["settings"]
    assert seen == [600, 600]                                   # its two epochs


@real_data
def test_ctrl_c_ends_fits_at_once_in_a_sentence(tmp_path):
    for name in ("reference_systems.py", "_reference_rows.py", "_measure.py"):        # results lie beside it
        shutil.copy(BENCHMARKS / name, tmp_path)
    process = subprocess.Popen([sys.executable, "reference_systems.py", "--only", "cnn_4", "--settings",
                                "reported", "--jobs", "2"], cwd=tmp_path,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler))
    while "epoch 1 of" not in process.stdout.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert errors == "interrupted: what is complete is kept, and --resume continues\n"
    assert process.returncode == 130


@real_data
def test_fits_at_once_are_those_one_by_one(script, monkeypatch, capsys):
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    options = "--only", "cnn_4", "--settings", "reported", "--minutes"
    rows, at_once = script(*options, 1e-6), script(*options, 1e-6, "--jobs", 4)
    for key in (key for key, row in rows.items() if row["runs"]):
        one, other = rows[key]["runs"][0], at_once[key]["runs"][0]
        assert other["train_loss_of_epochs"] == pytest.approx(one["train_loss_of_epochs"], rel=0.02)
        assert (other["fits_at_once"], other["torch_threads"]) == (4, 2)
    assert "4 of 4 done, 0.0s remaining" in capsys.readouterr().out
    limits = []

    class Noted(script.module.Limit):
        def __init__(self, minutes, note):
            limits.append(minutes)
            super().__init__(1e-6, note)

    monkeypatch.setattr(script.module, "Limit", Noted)
    script(*options, 30, "--jobs", 4)
    assert limits == [120] * 4                      # minutes, with a quarter of the cores each


@pytest.mark.parametrize(("seconds", "n_epochs"), [(59, None), (100, None), (101, 29), (170, 17), (4000, 1)])
def test_only_a_fit_that_would_take_too_long_is_made_shorter(script, tmp_path, seconds, n_epochs):
    note = tmp_path / "folder" / "note"
    limit, net = script.module.Limit(50, note), SimpleNamespace(history=History(), max_epochs=30)
    net.history.new_epoch()
    net.history.record("dur", seconds)
    with contextlib.nullcontext() if n_epochs is None else pytest.raises(KeyboardInterrupt):
        limit.on_epoch_end(net)
    assert (int(note.read_text()) if note.exists() else None) == n_epochs


@real_data
def test_a_fit_that_is_made_shorter_has_its_whole_schedule(script):
    rows = script("--only", "simple_model_1", "--settings", "reported", "--minutes", 0.05)
    run, = rows["simple_model_1", "validation"]["runs"]
    assert 1 <= run["epochs"] < 285
    rates = reference_system("simple_model_1").schedule.trace(run["epochs"], 9)      # of each batch
    assert run["lr_of_epochs"] == pytest.approx([5e-4 * rate for rate in rates[8::9]])
    n = 9 * run["epochs"]           # batches: from 25 on, each of the 25 rates has one
    assert run["lr_of_epochs"][-1] == pytest.approx(5e-4 * 0.9 ** (25 * (n - 1) // n))


def test_a_row_is_complete_with_one_whole_fit(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from _reference_rows import status
    row = {"epochs_planned": 10, "status": "not run"}
    assert status({**row, "runs": [{"epochs": 10}, {"epochs": 3}]}) == "complete"
    assert status({**row, "runs": [{"epochs": 2}, {"epochs": 3}]}) == "schedule compressed from 10 into 3 epochs"


@real_data
def test_one_setting_is_chosen_by_its_name(script):
    rows = script("--settings", "sigmoid, summed", "--only", "cnn_4", "cnn_5", "simple_cnn", "--minutes", 1e-6)
    assert [key for key, row in rows.items() if row["runs"]] == [
        (name, "sigmoid, summed") for name in ("cnn_4", "cnn_5")]
    rows = script("--settings", "augmented, Shirt", "--only", "four_layer_cnn", "--minutes", 1e-6)      # of a row's fit
    run, = rows["four_layer_cnn", "augmented"]["runs"]
    assert all(0 <= precision <= 1 for precision in run["test_precision_of_each_class"])


@real_data
def test_fits_are_kept_and_begun_anew_as_asked(script, capsys):
    options = "--only", "simple_cnn", "--settings", "reported"
    first = script(*options)["simple_cnn", "mean squared error"]
    assert first["status"] == "complete"
    assert first["runs"][0]["best_epoch"] <= first["runs"][0]["epochs"] == 50
    assert 0 < first["runs"][0]["test_accuracy"] < 1
    assert script(*options, "--resume")["simple_cnn", "mean squared error"] == first
    both = script(*options, "--resume", "--seeds", 0, 1, 1)["simple_cnn", "mean squared error"]["runs"]
    assert len(both) == 2
    assert both[0] == first["runs"][0]
    assert both[1]["seed"] == 1
    assert "simple_cnn, mean squared error, seed 1: test accuracy" in capsys.readouterr().out
    anew = script(*options)["simple_cnn", "mean squared error"]["runs"]
    assert [run["seed"] for run in anew] == [0, 1]
    assert anew[0]["fit_seconds"] != first["runs"][0]["fit_seconds"]
    assert anew[0]["test_accuracy"] == first["runs"][0]["test_accuracy"]
    assert anew[1] == both[1]


@real_data
def test_the_test_images_are_read_once_after_each_fit(script, monkeypatch):
    events = []

    class Watched(SimpleNamespace):
        @property
        def images(self):
            events.append("test images")
            return self.watched.images

        @property
        def target(self):
            return self.watched.target

    def noted(self, *args, fit=ImageClassifier.fit, **kwargs):
        fit(self, *args, **kwargs)
        events.append("end of a fit")
        return self

    monkeypatch.setattr(script.module, "load_fashion_mnist", lambda subset: first_images(subset) if subset == "train"
                        else Watched(watched=first_images(subset)))
    monkeypatch.setattr(ImageClassifier, "fit", noted)
    script("--only", "cnn_4", "--settings", "softmax", "our recipe")
    assert events == ["end of a fit", "test images"] * 2


@real_data
def test_another_call_of_other_rows_does_no_harm(script, monkeypatch, tmp_path):
    unfinished = tmp_path / "output" / "reference_systems" / "cnn_2, softmax" / "fit.pt"
    unfinished.parent.mkdir(parents=True)
    unfinished.touch()
    run, limits = script.module.run, ("--settings", "reported", "--minutes", 1e-6)

    def meanwhile(row, *args):
        if row["system"] == "cnn_4" and row["setting"] == "softmax":
            with monkeypatch.context() as patch:
                patch.setattr(script.module, "run", run)
                script("--only", "simple_cnn", *limits)
        return run(row, *args)

    monkeypatch.setattr(script.module, "run", meanwhile)
    rows = script("--only", "cnn_4", *limits)
    assert [row["system"] for row in rows.values() if row["runs"]] == ["simple_cnn"] + ["cnn_4"] * 4
    assert unfinished.exists()


@real_data
def test_another_call_of_another_seed_does_no_harm(script, monkeypatch):
    run, options = script.module.run, ("--only", "cnn_4", "--settings", "softmax", "--minutes", 1e-6)

    def meanwhile(row, seed, *args):
        if seed == 0:
            with monkeypatch.context() as patch:
                patch.setattr(script.module, "run", run)
                script(*options, "--seeds", 1)
        return run(row, seed, *args)

    monkeypatch.setattr(script.module, "run", meanwhile)
    assert [run["seed"] for run in script(*options, "--seeds", 0)["cnn_4", "softmax"]["runs"]] == [0, 1]


@real_data
def test_a_fit_that_fails_ends_no_other(script, monkeypatch, capsys):
    import _reference_rows
    make = _reference_rows.reference_system

    def diverging(name, setting=None, **params):
        return make(name, setting, **params, **({"optimizer": "sgd", "lr": 1e30} if setting == "sigmoid" else {}))

    monkeypatch.setattr(_reference_rows, "reference_system", diverging)
    rows = script("--only", "cnn_4", "--settings", "sigmoid", "sigmoid, summed", "--minutes", 1e-6)
    assert re.match("not run: The (training|validation) loss became", rows["cnn_4", "sigmoid"]["status"])
    assert len(rows["cnn_4", "sigmoid, summed"]["runs"]) == 1
    assert "check the scale of X" in capsys.readouterr().out


def test_seeds_are_those_that_tell_more(script):
    import _reference_rows
    rows = script.module.table()
    seeds = {key: _reference_rows.seeds_of(row) for key, row in rows.items()}
    assert {key for key, found in seeds.items() if found == [0, 1, 2]} == {
        ("cnn_1", setting) for setting in ("softmax", "softmax, augmented", "sigmoid", "sigmoid, augmented",
                                           "sigmoid, summed", "cross-entropy of sigmoids")}
    assert set(map(tuple, seeds.values())) == {(0,), (0, 1, 2)}
    for status, accuracy, expected in (("complete", 0.9050, [0, 1]), ("complete", 0.9, [0, 1]),
                                       ("complete", 0.91, [0]), ("schedule compressed", 0.9, [0, 1])):
        row = {**rows["cnn_2", "softmax"], "status": status, "runs": [{"test_accuracy": accuracy}]}
        assert _reference_rows.seeds_of(row) == expected


def test_runs_of_an_augmentation_that_was_another_are_left_out(script, monkeypatch):
    import _reference_rows
    row = script.module.table()["cnn_4", "softmax, augmented"]
    assert _reference_rows.settings_of(row).endswith("[RandomCrop(padding=1), RandomHorizontalFlip()]")
    row = script.module.table()["resnet", "validation"]
    assert _reference_rows.settings_of(row).endswith("RandomErasing(p=0.3), RandomCrop(p=0.3)]")


@real_data
def test_figures_of_other_settings_are_left_out(script, tmp_path):
    options = "--only", "cnn_4", "--settings", "reported", "--minutes", 1e-6
    script(*options)
    path = tmp_path / "reference_systems.json"
    path.write_text(path.read_text().replace("lr=0.004", "lr=0.003", 1))
    rows = script("--only", "simple_cnn", *options[2:])
    assert [setting for (name, setting), row in rows.items() if name == "cnn_4" and row["runs"]] == [
        "softmax, augmented", "sigmoid", "sigmoid, augmented"]
    assert rows["cnn_4", "softmax"]["status"] == "not run"


@real_data
def test_an_interrupted_fit_goes_on(script, monkeypatch, capsys):
    on_epoch_end = script.module.Limit.on_epoch_end

    def interrupted(limit, net, **kwargs):
        if len(net.history) == 3:
            raise MemoryError
        on_epoch_end(limit, net, **kwargs)

    options = "--only", "cnn_4", "--settings", "reported", "--resume"
    whole = script(*options)["cnn_4", "softmax"]["runs"][0]
    with monkeypatch.context() as patch:
        patch.setattr(script.module.Limit, "on_epoch_end", interrupted)
        with pytest.raises(MemoryError):
            script("--only", "cnn_4", "--settings", "reported")
    kept = script("--only", "simple_cnn", "--settings", "ours", "--minutes", 1e-6)["cnn_4", "softmax"]["runs"]
    assert kept == [{**whole, "begun_anew": True}]                  # a figure stays until there is another
    resumed = script(*options)["cnn_4", "softmax"]["runs"][0]
    assert "resuming after epoch 2" in capsys.readouterr().out
    assert "begun_anew" not in resumed
    assert resumed["fit_seconds"] != whole["fit_seconds"]
    assert resumed["train_loss_of_epochs"] == whole["train_loss_of_epochs"]
    assert resumed["test_accuracy"] == whole["test_accuracy"]


@real_data
def test_weights_that_are_not_there_are_named(script, monkeypatch, tmp_path, capsys):
    from fmnist_sk.networks import _inception_v3
    monkeypatch.setattr(_inception_v3, "ADDRESS", "http://127.0.0.1:9/none.pth")
    monkeypatch.setattr("fmnist_sk._storage.download.PAUSE", 0.0)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    assert script("--only", "inception_v3")["inception_v3", None]["status"] == "not run without weights"
    assert "put it there" in capsys.readouterr().out


@pytest.mark.parametrize(("option", "value", "message"), [
    ("--only", "cnn_9", "--only must be among 'cnn_1', .*; got 'cnn_9'"),
    ("--seeds", -1, "--seeds: must be a whole number from 0 to 4294967295, got -1"),
    ("--seeds", 2**32, "--seeds: must be a whole number from 0 to 4294967295, got 4294967296"),
    ("--jobs", 0, "--jobs: must be a whole number above 0, got 0"),
    ("--minutes", 0, "--minutes: must be a number above 0, got 0"),
    ("--minutes", "nan", "--minutes: must be a number above 0, got nan"),
    ("--device", "wibble", "--device: must name a device of this machine, got wibble"),
    ("--device", "meta", "--device: must be cpu or cuda, got meta"),
    ("--only", ("inception_v3", "--settings", "ours"), "inception_v3 has none of the settings ours"),
    ("--settings", "our", "--settings must be among 'ASGD', .*; got 'our'"),
    ("--name", "some/where", "--name: must be a name without folders, got some/where"),
])
def test_wrong_options_are_named_before_anything_is_begun_anew(script, option, value, message, tmp_path, capsys):
    results = tmp_path / "reference_systems.json"
    results.write_text("{}")
    with pytest.raises(SystemExit):
        script(option, *(value if isinstance(value, tuple) else (value,)))
    assert re.search(message, capsys.readouterr().err)
    assert results.read_text() == "{}"


@pytest.mark.parametrize(("content", "message"), [
    ('{"environment": {}, "goals": {}}', "belongs to another script, with goals: choose another --name"),
    ('{"environment": {}, "ro', "is damaged (.*): delete it, or choose another --name"),
])
def test_files_of_other_scripts_stay(script, content, message, tmp_path):
    results = tmp_path / "reference_systems.json"
    results.write_text(content)
    with pytest.raises(SystemExit, match=message.replace("(.*)", r"\(.*\)")):
        script("--only", "cnn_4")
    assert results.read_text() == content


@pytest.fixture
def tables(script, monkeypatch, tmp_path):
    """README's tables, as a function of what some rows have: runs, and a status other than that of complete rows."""
    import _reference_tables
    import _tables
    monkeypatch.setattr(_tables, "RESULTS", tmp_path)

    def text(changes):
        rows = script.module.table()
        for key, (status, *runs) in changes.items():
            rows[key] |= {"status": status, "runs": runs}
        (tmp_path / "reference_systems.json").write_text(json.dumps({"rows": list(rows.values())}))
        return "\n".join(_reference_tables.reference())

    return text


def test_the_picture_has_a_curve_for_each_network(script, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    import matplotlib.pyplot as plt
    names = "simple_model_1", "simple_model_2", "inception", "resnet", "inception_resnet"
    others = [{"report": "report 3", "setting": "validation, p = 0.5"}, {"report": "report 2", "setting": "validation"}]
    rows = [{"system": name, "report": "report 3", "setting": "validation"} for name in names] + [
        {"system": "other", **row} for row in others]
    runs = [{"valid_acc_of_epochs": [0.88, 0.93, 0.92]}]
    results = tmp_path / "reference_systems.json"
    for content, options, message in (
            ({}, ("curves.png",), "reference_systems.json has no row of report 3 to draw"),
            ({"rows": [{**row, "runs": []} for row in rows]}, ("curves.png",), "has no row of report 3 to draw"),
            ({}, ("none/curves.png",), "--picture must name a .png in a folder that is there, got none/curves.png"),
            ({}, ("curves.txt",), "--picture must name a .png in a folder that is there, got curves.txt"),
            ({}, ("",), "--picture must name a .png in a folder that is there, got .")):
        results.write_text(json.dumps(content))
        with pytest.raises(SystemExit):
            script("--picture", *options)
        assert message in capsys.readouterr().err
    results.write_text(json.dumps({"rows": [{**row, "runs": runs} for row in rows]}))
    script("--picture", tmp_path / "curves.png")
    axes = plt.gcf().axes[0]
    assert [line.get_label() for line in axes.lines] == [f"{name}, 3 epochs: best 93.00%" for name in names]
    assert [list(line.get_ydata()) for line in axes.lines] == [[0.88, 0.93, 0.92]] * 5
    plt.close("all")
    assert (tmp_path / "curves.png").stat().st_size > 10_000


def test_tables_say_what_is_not_reproduced_and_where_each_figure_is_from(tables):
    cpu = {"test_accuracy": 0.9, "valid_accuracy": 0.8, "seconds_per_epoch": 30.0, "torch_threads": 1,
           "git": "0123456789", "processor": "Abacus", "gpu": None, "torch": "2.13.0", "arithmetic": "float32",
           "device": "cpu", "minutes": 30, "fits_at_once": 1, "epochs": 10, "valid_accuracy_of_each_class": [0.7] * 10}
    cuda = {**cpu, "device": "cuda", "gpu": "Loom", "test_accuracy": 0.92, "arithmetic": "bfloat16",
            "seconds_per_epoch": 1.0}
    whole_length = {**cpu, "epochs": 285}
    whole = tables({("cnn_2", "softmax"): ("complete", cpu), ("inception", "validation"): ("complete", whole_length)})
    assert "(2 of 55 rows complete" in whole
    assert "In brackets" not in whole
    assert "1 core of Abacus, PyTorch 2.13.0, float32; revision 0123456)" in whole
    assert "\n| 1 | cnn_2 | softmax | 90.25 | 90.00 | 10 | not run |  |" in whole
    assert "\n| 3 | inception | validation | 94.50 val | 80.00 val | 285 | not run |  |" in whole
    assert "below what was reported:\n\n- inception, validation (-14.50): the reason is not known.\n" in whole
    mlp = {**cpu, "epochs": 40, "test_accuracy": 0.88, "train_loss_of_epochs": [0.5, 0.1, 0.05],
           "valid_acc_of_epochs": [0.85, 0.91, 0.89]}
    first = {("patch_mlp", "last epoch"): ("complete", mlp)}
    assert "- patch_mlp, last epoch (-1.19): its training loss ends at 0.05, the report's at 0.11.\n" in tables(first)
    more = tables(first | {("patch_mlp", "constant learning rate"): ("complete", {**mlp, "test_accuracy": 0.87}),
                           ("patch_mlp", "pixels standardised"): ("complete", mlp),
                           ("patch_mlp", "all training images, float32"): ("complete", {
                               **mlp, "train_acc_of_epochs": [0.9, 0.971]})})
    assert ("it ends at 0.05, with a test accuracy of 87.00 %. There the accuracy on 1,000 held-out images ranged from "
            "85.0 to 91.0 % within") in more
    assert ("a third reading, the test accuracy is 88.00 %. In float32, and trained on all 60,000 images, it has "
            "88.00 % of the test images and 97.10 % of the training images, the report's 96.11. No reading that was "
            "tried explains the difference.\n") in more
    cnn = {**cpu, "epochs": 100, "lr_of_epochs": [1e-3] * 50 + [2.5e-4] * 50, "best_epoch": 14,
           "train_acc_of_epochs": [0.9, 0.965], "fit_seconds": 3000}
    larger = "second_cnn_48_96", "extended dataset, a quarter of the learning rate after 50 epochs"
    assert ("validation epoch is 14, before the learning rate falls, which gains nothing, and at the end 3.5 % of its "
            "training images are misclassified.\n") in tables({larger: ("complete", cnn)})
    assert "epoch is 60" not in tables({larger: ("complete", {**cnn, "best_epoch": 60})})
    other = {**cnn, "test_accuracy": 0.91, "train_acc_of_epochs": [0.999]}
    assert ("are misclassified. With batch normalisation of the convolutions alone, another reading, 91.00 % of the "
            "test images are classified correctly after 100 epochs, and 0.1 % of the training images are "
            "misclassified.\n") in tables({larger: ("complete", cnn), (larger[0], "batch norm of the convolutions"): (
                "complete", other)})
    assert "| simple_cnn | mean squared error | 91.42 | not run |  | not run |  |" in whole
    assert "\n| 2 | inception_v3 | as planned |  | not run without weights |  | | |" in tables({
        ("inception_v3", None): ("not run without weights",)})
    assert "\n| inception | validation | T-shirt/top | accuracy | 90.80 | 70.00 val |\n| inception | " in whole
    assert "| resnet | validation | T-shirt/top | accuracy | 91.00 | not run |" in whole
    assert "tried in a report" not in whole
    assert '"sigmoid, summed", "cross-entropy of sigmoids" of cnn_1, cnn_2, cnn_3, cnn_5; "sigmoid, summed", "' in whole
    assert "\n| resnet | validation, p = 0.05 | 80.00 val |" in tables({
        ("resnet", "validation, p = 0.05"): ("complete", whole_length)})
    seeds = tables({("cnn_1", "softmax"): ("complete", cpu, {**cpu, "test_accuracy": 0.1})})
    assert "| 89.16, 90.00 / 10.00 |" in seeds
    assert "\n| 1 | cnn_1 | softmax | 89.16 | 90.00 / 10.00 | 10 |" in seeds
    assert "below what was reported" not in seeds           # of the seeds that learned anything
    assert "\n| second_cnn | batch norm of the convolutions | 90.00 / 79.00 |" in tables({
        ("second_cnn", "batch norm of the convolutions"): ("complete", *({**cnn, "epochs": 50, "test_accuracy": one}
                                                                         for one in (0.9, 0.79)))})
    shirts = {**whole_length, "valid_accuracy": 0.92, "valid_accuracy_of_each_class": [0.9, 0.99, *[0.74] * 8]}
    assert ("points below what was reported:\n\n- simple_model_1, validation, Shirt (-0.75): with 400 images of the "
            "class, this accuracy and the report's each have a standard error of 2.2 points, and their difference one "
            "of 3.1.\n") in tables({
                ("simple_model_1", "validation"): ("complete", shirts)})
    shirts = {**cnn, "epochs": 50, "test_accuracy": 0.92, "test_accuracy_of_each_class": [0.8] * 10,
              "test_precision_of_each_class": [0.74] * 10}
    found = tables({("four_layer_cnn", "augmented"): ("complete", shirts)})
    assert ("| four_layer_cnn | augmented | Shirt | accuracy | 77.00 | 80.00 |\n"
            "| four_layer_cnn | augmented | Shirt | precision | 75.00 | 74.00 |\n") in found
    assert ("- four_layer_cnn, augmented, Shirt, precision (-1.00): with 1,000 images of the class, this precision and "
            "the report's each have a standard error of 1.4 points, and their difference one of 2.0.\n") in found
    on_gpu = {**cuda, "minutes": None}
    mixed = tables({("cnn_2", "softmax"): ("schedule compressed from 10 into 3 epochs", on_gpu, {
        **cpu, "epochs": 3, "minutes": 120, "fits_at_once": 2, "test_accuracy": 0.5})})
    assert "more than 240 minutes on 1 core has fewer" in mixed
    assert "| cnn_2 | softmax | 90.25 | 92.00* | 10 |" in mixed         # a compressed seed counts only by itself
    assert "Of seeds with different numbers of epochs, those with the most count" in mixed
    early = tables({("cnn_2", "softmax"): ("schedule compressed from 10 into 3 epochs", {**cpu, "epochs": 3}),
                    ("cnn_2", "sigmoid"): ("complete", cuda),
                    ("simple_cnn", "our recipe"): ("complete", *({**cuda, "epochs": 30, "test_accuracy": accuracy}
                                                                 for accuracy in (0.94, 0.92)))})
    assert "(2 of 55 rows complete" in early
    assert "below what was reported" not in early
    assert "In brackets: a fit that would have taken more than 30 minutes on 1 core has fewer" in early
    assert "*: Loom, PyTorch 2.13.0, bfloat16" in early
    assert "| 90.25 | (90.00) | 3 of 10 |" in early
    assert "\n| resnet | validation | Shirt | accuracy | 83.50 | (70.00 val) |" in tables({
        ("resnet", "validation"): ("schedule compressed from 285 into 35 epochs", {**cpu, "epochs": 35})})
    assert "| 93.00 ± 1.41* | 30 |" in early
    assert "| 85.85, 92.00* | 86.61, not run | 30 (1 core, float32); 1 (Loom, bfloat16) |" in early
    assert "the report's own are 20 for cnn_1 and 32 for cnn_5, on a GeForce 1050 Ti" in early

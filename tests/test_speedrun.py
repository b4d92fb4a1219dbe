"""The benchmark of the time to an accuracy: what it writes, and that runs are kept."""
import json
import sys
from pathlib import Path

import pytest
from fashion import first_images, real_data
from scripts import BENCHMARKS

pytestmark = pytest.mark.benchmarks


@pytest.fixture
def speedrun(tmp_path, monkeypatch):
    """The script on few images, as a function of its options that returns what it knows of the recipe "fast"."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import _measure
    import speedrun
    candidates = speedrun.CANDIDATES
    monkeypatch.setattr(_measure, "RESULTS", tmp_path)
    monkeypatch.setattr(speedrun, "CANDIDATES", {"cpu": {"fast": [{"max_epochs": 1},
                                                                  {"max_epochs": 1, "width": 16}]}})
    monkeypatch.setattr(_measure, "HELD_OUT", 300)

    def run(*options):
        monkeypatch.setattr(sys, "argv", ["speedrun.py", "--recipes", "fast", *map(str, options)])
        speedrun.main()
        return json.loads((tmp_path / "speedrun.json").read_text())["recipes"]["fast"]

    monkeypatch.setattr(speedrun, "load_fashion_mnist", first_images)
    run.folder, run.module, run.candidates = tmp_path, speedrun, candidates
    return run


@real_data
def test_runs_are_timed_and_kept(speedrun, monkeypatch):
    found = speedrun("--seeds", 3)
    run, = found["runs"]
    assert run["seed"] == 3
    assert run["fit_seconds"] > 0 < run["predict_seconds"]
    assert found["cold_start"]["seconds"] > 0
    assert 0 < run["test_accuracy"] < 1
    both = speedrun("--seeds", 3, 4)["runs"]
    assert both[0] == run
    assert both[1]["seed"] == 4
    path = next(Path(speedrun.folder).glob("speedrun.json"))
    path.write_text(path.read_text().replace('"max_epochs": "6"', '"max_epochs": "7"', 1))
    with monkeypatch.context() as patch:
        patch.setattr(speedrun.module, "run", lambda *args: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            speedrun("--seeds", 3)
    assert len(json.loads(path.read_text())["recipes"]["fast"]["runs"]) == 2
    assert [run["seed"] for run in speedrun("--seeds", 3)["runs"]] == [4, 3]         # the other had other settings
    assert [run["seed"] for run in speedrun("--seeds", 5, "--afresh")["runs"]] == [5]


@real_data
def test_settings_are_compared_on_held_out_training_images(speedrun):
    found = speedrun("--choose", "--seeds", 0)
    assert [(row["settings"].get("width"), row["seed"]) for row in found["choice"]] == [(None, 0), ("16", 0)]
    assert all(0 < row["valid_accuracy"] < 1 for row in found["choice"])
    assert speedrun("--choose", "--seeds", 0)["choice"] == found["choice"]
    assert "runs" not in found


def test_recipes_without_a_goal_on_the_device_are_named(speedrun, capsys):
    with pytest.raises(SystemExit):
        speedrun("--recipes", "wide")
    assert "there are goals on cpu for default, fashion, fast, accurate; got wide" in capsys.readouterr().err
    assert not list(speedrun.folder.iterdir())


def test_a_gpu_has_recipes_of_its_own(speedrun):
    module = speedrun.module
    for name, settings in speedrun.candidates["cuda"].items():
        assert module.GOALS[name].cuda
        assert module.settings_of(name, "cuda", {}) in [module.settings_of(name, "cuda", params) for params in settings]
        assert module.classifier_of(name, 0, "cuda").batch_size > 128
    assert module.classifier_of("fast", 0, "cpu").batch_size == 256

"""The benchmark of the most accurate networks: candidates are compared on held-out images, and no fit is done twice."""
import json
import sys
from pathlib import Path

import pytest
from fashion import first_images, real_data
from interrupted import Counting
from scripts import BENCHMARKS
from sklearn.base import clone

from fmnist_sk import ConvNetClassifier, DeepEnsembleClassifier, ResNetClassifier, recipe, summary

pytestmark = pytest.mark.benchmarks


@pytest.fixture
def accuracy(tmp_path, monkeypatch):
    """The script on few images, as a function of its options that returns what it knows of the goals."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.chdir(tmp_path)
    import _measure
    import accuracy as module

    def net(**params):
        return Counting(architecture="4C3-MP2-16N", max_epochs=3, **params)

    goals = module.GOALS
    monkeypatch.setattr(_measure, "RESULTS", tmp_path)
    monkeypatch.setattr(_measure, "HELD_OUT", 300)
    monkeypatch.setattr(module, "GOALS", {"cuda": {}, "cpu": {
        "single": module.Goal(0.9, {"idle": net(lr=1e-9), "good": net()}),
        "ensemble": module.Goal(0.9, {"3": DeepEnsembleClassifier(net(), n_members=3)}, seeds=(0, 1))}})

    def run(*options):
        monkeypatch.setattr(sys, "argv", ["accuracy.py", *map(str, options)])
        module.main()
        return json.loads((tmp_path / "accuracy.json").read_text())["goals"]

    monkeypatch.setattr(module, "load_fashion_mnist", first_images)
    run.module, run.goals = module, goals
    return run


@real_data
def test_the_candidate_that_is_best_on_held_out_images_is_trained(accuracy, capsys):
    with pytest.raises(SystemExit, match="single: not yet tried on held-out images: idle, good"):
        accuracy("--only", "ensemble", "single")
    assert not Path("accuracy.json").exists()               # not after hours of the other goal
    with pytest.raises(SystemExit):
        accuracy("--only", "single", "--choose", "single")
    assert "give one of them" in capsys.readouterr().err
    tried = accuracy("--choose", "single", "--seeds", 0, 1)["single"]
    assert [(row["candidate"], row["seed"]) for row in tried["choice"]] == [
        ("idle", 0), ("good", 0), ("idle", 1), ("good", 1)]
    assert not tried.get("runs")
    found = accuracy("--only", "single")["single"]
    assert found["choice"] == tried["choice"]
    run, = found["runs"]
    assert (run["candidate"], run["seed"], run["epochs"], run["members"]) == ("good", 0, 3, 1)
    assert 0.3 < run["test_accuracy"] < 1
    assert 0 < run["seconds_per_epoch"] < 60
    assert run["predict_seconds"] > 0
    del accuracy.module.GOALS["cpu"]["single"].candidates["good"]
    run, = accuracy("--only", "single")["single"]["runs"]          # no run of what is no candidate any more
    assert run["candidate"] == "idle"
    accuracy.module.GOALS["cpu"]["single"].candidates["idle"].lr = 1e-8
    again, = accuracy("--only", "single")["single"]["runs"]        # nor of other settings
    assert again["settings"] != run["settings"]


@real_data
def test_a_run_stays_until_its_replacement_is_there(accuracy, monkeypatch):
    candidates = accuracy.module.GOALS["cpu"]["single"].candidates
    del candidates["good"]
    found = accuracy("--only", "single")
    candidates["idle"].lr = 1e-8

    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(accuracy.module, "fitted", interrupted)
    with pytest.raises(KeyboardInterrupt):
        accuracy("--only", "single")
    assert json.loads(Path("accuracy.json").read_text())["goals"] == found


def test_settings_are_the_same_whether_or_not_they_spell_out_defaults(accuracy):
    ensemble, = accuracy.goals["cuda"]["ensemble"].candidates.values()
    single = accuracy.goals["cpu"]["single"].candidates["second_cnn, 100 epochs, CutMix"]
    mean_the_same, settings = accuracy.module.mean_the_same, accuracy.module._measure.text_of(ensemble)
    assert "together" not in settings
    assert mean_the_same(f"{settings[:-1]}, together=False)", ensemble)
    assert not mean_the_same(f"{settings[:-1]}, together=True)", ensemble)
    assert not mean_the_same(settings, single)
    assert mean_the_same(accuracy.module._measure.text_of(single), single)
    ensemble.set_params(estimator=ResNetClassifier(**recipe("wide", "cuda")))
    content = json.loads((BENCHMARKS / "results/accuracy_cuda.json").read_text())
    assert all(mean_the_same(run["settings"], ensemble) for goal in content["goals"].values() for run in goal["runs"])


@pytest.mark.parametrize("settings", ["garbage(", "1/0", "().__class__", "ConvNetClassifier().fit", "print(1)",
                                      "ConvNetClassifier(wibble=1)", ""])
def test_damaged_settings_mean_something_else_and_are_not_run(accuracy, settings, capsys):
    assert not accuracy.module.mean_the_same(settings, ConvNetClassifier())
    assert capsys.readouterr().out == ""


@real_data
def test_an_ensemble_goes_on_with_the_members_that_are_done(accuracy, monkeypatch):
    """Interrupted in its second member it does not train the first again, and ends as one that never stopped."""
    whole = accuracy("--only", "ensemble", "--seeds", 0)["ensemble"]["runs"][0]
    assert whole["members"] == 3
    fit, fits = ConvNetClassifier.fit, []

    def interrupted(member, *data):
        fits.append(member.random_state)
        if len(fits) == 2:
            raise KeyboardInterrupt
        return fit(member, *data)

    monkeypatch.setattr(ConvNetClassifier, "fit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        accuracy("--only", "ensemble", "--seeds", 0, "--afresh")
    assert not json.loads(Path("accuracy.json").read_text())["goals"]["ensemble"]["runs"]
    kept = list(accuracy.module.FOLDER.rglob("*.*"))
    assert len(kept) == 1
    Counting.epochs = 0
    again = accuracy("--only", "ensemble", "--seeds", 0)["ensemble"]["runs"][0]
    assert Counting.epochs == 2 * 3                             # of the second and the third member
    assert again["test_accuracy_of_each_class"] == whole["test_accuracy_of_each_class"]
    assert again["seconds_per_epoch"] != whole["seconds_per_epoch"]
    assert not list(accuracy.module.FOLDER.rglob("*.*"))


@real_data
def test_members_of_an_ensemble_are_runs_of_single_networks(accuracy):
    goals = accuracy.module.GOALS["cpu"]
    goals["ensemble"] = goals["ensemble"]._replace(members=("each", 0.8))
    found = accuracy("--only", "ensemble", "--seeds", 0)
    whole, = found["ensemble"]["runs"]
    runs = found["each"]["runs"]
    assert [run["members"] for run in runs] == [1, 1, 1]
    assert len({run["seed"] for run in runs}) == 3
    assert {run["candidate"] for run in runs} == {"one of 3"}
    assert sum(run["parameters"] for run in runs) == whole["parameters"]
    assert min(run["test_accuracy"] for run in runs) < whole["test_accuracy"] + 0.05
    more = accuracy("--only", "ensemble")
    assert more["each"]["runs"][:3] == runs
    assert [run["seed"] for run in more["ensemble"]["runs"]] == [0, 1]
    assert len({run["seed"] for run in more["each"]["runs"]}) == 6


@real_data
def test_a_teacher_is_trained_once_for_all_seeds(accuracy):
    goals = accuracy.module.GOALS["cpu"]
    idle = goals["single"].candidates["idle"]
    teacher = DeepEnsembleClassifier(clone(idle), n_members=2, random_state=0)
    goals["single"] = accuracy.module.Goal(0.9, {"taught": idle.set_params(teacher=teacher, teacher_weight=0.5)})
    Counting.epochs = 0
    runs = accuracy("--only", "single", "--seeds", 0, 1)["single"]["runs"]
    assert [run["seed"] for run in runs] == [0, 1]
    assert "teacher=DeepEnsembleClassifier(" in runs[0]["settings"]
    assert Counting.epochs == (2 + 2) * 3                       # members of the teacher and seeds
    accuracy("--only", "single", "--seeds", 2)
    assert Counting.epochs == (2 + 3) * 3


def test_networks_keep_to_their_goal_s_number_of_parameters(accuracy):
    for name, goal in accuracy.goals["cpu"].items():
        assert goal.candidates
        if name.startswith("under "):
            n = 1000 * int(name.removeprefix("under ").removesuffix("k"))
            for estimator in goal.candidates.values():
                assert summary(estimator).loc["total", "parameters"] < n

"""The benchmark that compares recipes for the reports' architectures on held-out images."""
import json
import sys

import numpy as np
import pytest
from fashion import first_images, real_data
from scripts import BENCHMARKS
from sklearn.base import clone

from fmnist_sk import reference_system

pytestmark = pytest.mark.benchmarks


@real_data
def test_every_candidate_is_tried_once_on_images_that_are_held_out(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import _measure
    import choose_reference_recipes as script
    monkeypatch.setattr(_measure, "RESULTS", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(script, "HELD_OUT", 200)
    bunch, seen = first_images("train"), []

    class Recorded(script.ConvNetClassifier):
        def fit(self, X, y):
            assert self.checkpoint
            seen.append(X)
            return super().fit(X, y)

    monkeypatch.setattr(script, "load_fashion_mnist", lambda return_X_y: (bunch.images, bunch.target))
    monkeypatch.setattr(script, "reference_system", lambda *args, original=script.reference_system, **params: Recorded(
        **original(*args, **params).get_params(deep=False)))

    def run(*options):
        monkeypatch.setattr(sys, "argv", ["x", "--only", "simple_cnn", "--images", "128", "--epochs", "1",
                                          *options])
        script.main()
        return json.loads((tmp_path / "choose_reference_recipes.json").read_text())["runs"]

    two = "--candidates", "SGD", "SGD, batch norm, dropout"
    runs = run(*two)
    assert [run["candidate"] for run in runs] == list(two[1:])
    assert "dropout=0.2" in runs[1]["settings"]
    assert all(np.array_equal(X, bunch.images[:128]) for X in seen)
    assert run(*two, "AdamW")[:2] == runs
    assert len(seen) == 3
    for wrong, message in ((("--images", "500"), "--images must be from 128 to 400, got 500"),
                           (("--images", "1"), "--images must be from 128 to 400, got 1"),
                           (("--only", "resnet", "--candidates", "SGD, batch norm"),
                            "--candidates must include one for resnet, got only those for other networks: "
                            "'SGD, batch norm'")):
        with pytest.raises(SystemExit):
            run(*wrong)
        assert message in capsys.readouterr().err


@real_data
def test_a_taught_candidate_has_a_teacher_of_the_same_images(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import _measure
    import choose_reference_recipes as script
    bunch, seen = first_images("train"), []

    class Teacher(script.ConvNetClassifier):
        def fit(self, X, y):
            seen.append(X)
            return super().fit(X, y)

    monkeypatch.setattr(_measure, "RESULTS", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(script, "HELD_OUT", 200)
    monkeypatch.setattr(script, "load_fashion_mnist", lambda return_X_y: (bunch.images, bunch.target))
    teacher = Teacher(architecture="4C3-MP2-8N", max_epochs=1, random_state=0)
    monkeypatch.setitem(script.EVERY["SGD, lr 0.04, CutMix, taught"], "teacher", teacher)
    monkeypatch.setattr(sys, "argv", ["x", "--only", "cnn_4", "--images", "128", "--epochs", "1", "--candidates",
                                      "SGD, lr 0.04, CutMix, taught"])
    script.main()
    run, = json.loads((tmp_path / "choose_reference_recipes.json").read_text())["runs"]
    assert "teacher=Teacher(" in run["settings"]
    assert [len(X) for X in seen] == [128]
    assert not teacher.initialized_


def test_candidates_that_are_the_same_for_a_network_are_trained_once(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from choose_reference_recipes import EVERY, candidates_of
    same = {"SGD, batch norm", "SGD, batch norm everywhere", "SGD, batch norm, dropout"}
    assert same <= candidates_of("simple_cnn", EVERY).keys()
    assert len(candidates_of("simple_model_1", ["SGD", "SGD, batch norm everywhere"])) == 1     # it has that itself
    for name in ("cnn_1", "cnn_2", "cnn_3", "cnn_4", "cnn_5"):      # that is what tells some of these apart
        plain = reference_system(name)
        assert {(one.batch_norm, one.dropout) for one in candidates_of(name, EVERY).values()} == {
            (plain.batch_norm, plain.dropout)}


def test_the_runs_are_those_of_the_candidates_today(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from _measure import text_of
    from choose_reference_recipes import EVERY, candidates_of
    runs = json.loads((BENCHMARKS / "results" / "choose_reference_recipes.json").read_text())["runs"]
    of_each = {system: candidates_of(system, EVERY) for system in {run["system"] for run in runs}}
    for run in runs:
        candidate = clone(of_each[run["system"]][run["candidate"]])
        candidate.set_params(max_epochs=run["epochs"], random_state=run["seed"], device="cpu")
        assert run["settings"] == text_of(candidate)


def test_the_longest_comparison_is_one_of_several_candidates(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from choose_reference_recipes import longest
    def run(candidate, epochs, system="a"):
        return {"system": system, "candidate": candidate, "images": 100, "epochs": epochs, "accuracy": 0.9}
    runs = [run("x", 9), run("y", 9), run("x", 40), run("y", 40), run("x", 120), run("x", 120), run("x", 9, "b")]
    assert longest(runs) == {"a": runs[2:4]}


@real_data
def test_several_calls_at_once_keep_the_runs_of_each(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import _measure
    import choose_reference_recipes as script
    monkeypatch.setattr(_measure, "RESULTS", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(script, "HELD_OUT", 200)
    bunch = first_images("train")
    monkeypatch.setattr(script, "load_fashion_mnist", lambda return_X_y: (bunch.images, bunch.target))
    of_another_call = {"system": "simple_cnn", "candidate": "SGD", "seed": 0}
    fit = script.ConvNetClassifier.fit

    def fit_while_another_writes(self, X, y):
        _measure.write("choose_reference_recipes", {"held_out": 200, "runs": [of_another_call]})
        return fit(self, X, y)

    monkeypatch.setattr(script.ConvNetClassifier, "fit", fit_while_another_writes)
    monkeypatch.setattr(sys, "argv", ["x", "--only", "cnn_4", "--images", "128", "--epochs", "1",
                                      "--candidates", "SGD"])
    script.main()
    runs = json.loads((tmp_path / "choose_reference_recipes.json").read_text())["runs"]
    assert [run["system"] for run in runs] == ["simple_cnn", "cnn_4"]

"""The scripts that search, stack and use a cluster write what they promise."""
import json
import re
import runpy
import sys

import numpy as np
import pandas as pd
import pytest
from fashion import real_data
from scripts import BENCHMARKS, EXAMPLES, pixels, run
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.linear_model import SGDClassifier
from sklearn.model_selection import HalvingGridSearchCV, ParameterGrid

import fmnist_sk
from fmnist_sk import load_fashion_mnist


def first_images(load_data):
    return lambda part, **source: load_data(part, **source).take(slice(500 if part == "test" else None))


def here(script, *arguments, monkeypatch):
    """Run in this process, with 500 test images: what several short runs have to import is imported once."""
    monkeypatch.setattr(sys, "argv", [script, *map(str, arguments)])
    monkeypatch.syspath_prepend(str(EXAMPLES))
    import _data
    import _options
    monkeypatch.setattr(_options, "load_data", first_images(_data.load_data))
    runpy.run_path(str(EXAMPLES / script), run_name="__main__")


@real_data
@pytest.mark.parametrize(("space", "method", "columns"), [
    ("report_2", "random", {"lr", "batch_size", "dropout", "architecture"}),
    ("size", "halving", {"net", "architecture", "n_blocks", "width", "max_epochs"}),
    ("size", "optuna", {"net"}),
])
def test_searches_rank_their_candidates(space, method, columns, tmp_path, monkeypatch, capsys):
    here("hyperparameter_search.py", "--space", space, "--method", method, "--candidates", 4, "--images", 150,
         "--epochs", 5 if method == "halving" else 1, "--output", tmp_path, monkeypatch=monkeypatch)
    out, progress = capsys.readouterr()
    assert "\r" not in progress                         # as a bar would write, on a terminal
    table = pd.read_csv(tmp_path / "ranking.csv")
    assert len(table) == 4
    assert columns & set(table) if method == "random" else columns <= set(table) | {"n_blocks", "width", "net"}
    n_epochs = 5 if method == "halving" else 1
    if method == "halving":
        assert sorted(table["max_epochs"]) == [1, 1, 2, 4]
    else:
        assert table["accuracy"].is_monotonic_decreasing
    if space == "size":
        assert "Classifier(" not in out
    if method == "halving":
        lines = re.findall(r"^net (?:ConvNet, architecture [\dNCMP-]+|ResNet, n_blocks \([\d, ]+\), width \d+), "
                           r"max_epochs (\d): accuracy 0\.\d{4}$", out, re.MULTILINE)
        assert lines == list("1111224")
    assert f"the best, trained on all 150 images for {n_epochs} epoch{'s' * (n_epochs > 1)}: test accuracy 0." in out
    pixels(tmp_path / "search.png")
    best = fmnist_sk.load(tmp_path / "best.safetensors")
    assert (best[-1] if space == "size" else best).n_iter_ == n_epochs
    assert best.predict(load_fashion_mnist("test").images[:5]).shape == (5,)
    assert list((tmp_path / "fits").iterdir())


@pytest.mark.exhaustive
@real_data
def test_report_1s_search_is_over_learning_rate_l2_batch_size_and_epochs(tmp_path, monkeypatch):
    here("hyperparameter_search.py", "--candidates", 3, "--images", 100, "--output", tmp_path, monkeypatch=monkeypatch)
    table = pd.read_csv(tmp_path / "ranking.csv")
    assert {"lr", "weight_decay", "batch_size", "max_epochs"} <= set(table)
    assert table["lr"].between(1e-4, 1e-2).all()
    assert table["max_epochs"].isin([3, 6, 10]).all()
    best = fmnist_sk.load(tmp_path / "best.safetensors")
    assert (best.max_epochs, best.batch_size) == (table["max_epochs"][0], table["batch_size"][0])
    assert best.lr == pytest.approx(table["lr"][0])


def test_the_grid_of_report_2_has_every_combination_of_its_choices(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    import hyperparameter_search as script
    model, spaces = script.SPACES["report_2"]
    search = script.search_with("grid", model, spaces, n_candidates=1, cv=2, epochs=1, jobs=1, seed=0)
    grid = ParameterGrid(search.param_grid)
    assert len(grid) == 3 * 2 * 2 * 4
    assert set(grid[0]) == {"lr", "batch_size", "dropout", "architecture"}


@pytest.mark.parametrize(("n_candidates", "epochs", "rounds"), [
    (12, 9, [1, 3, 9]), (8, 8, [1, 2, 4, 8]), (4, 8, [2, 4, 8]), (16, 8, [1, 2, 4, 8]), (12, 12, [3, 12]),
    (3, 9, [3, 9]), (8, 26, [8, 24]), (12, 10, [1, 3, 9]), (1, 7, [7]), (2, 1, [1])])
def test_the_last_round_of_halving_comes_near_to_all_epochs(n_candidates, epochs, rounds, monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    import hyperparameter_search as script
    X, y = np.random.default_rng(0).random((20, 2)), np.arange(20) % 2
    search = HalvingGridSearchCV(SGDClassifier(tol=None), {"alpha": np.geomspace(1e-4, 1, n_candidates)}, cv=2,
                                 resource="max_iter", max_resources=epochs, min_resources="exhaust",
                                 factor=script.halving_factor(n_candidates, epochs)).fit(X, y)
    assert search.n_resources_ == rounds


BAD = [("--device", "wibble", "device must name a device of this machine"), ("--seed", -1, "--seed must be at least 0"),
       ("--images", 70_000, "--images must be at most 60,000, got 70000"), ("--images", 3, "--images must be at least"),
       ("--epochs", 0, "--epochs must be at least 1, got 0"), ("--output", BENCHMARKS / "_measure.py", "File exists")]
BAD = [(script, *case) for script in ("hyperparameter_search.py", "stacking.py", "cluster_search.py") for case in BAD]
BAD += [("hyperparameter_search.py", "--jobs", 0, "--jobs must be at least 1, got 0"),
        ("hyperparameter_search.py", "--folds", 400, "--folds must be at most .* got 400"),
        ("stacking.py", "--images", 150, "every class needs at least 20 training images, .* got a class of \\d+"),
        ("stacking.py", "--cv", 400, "--cv must be at most .* got 400"),
        ("cluster_search.py", "--workers", 1, "--workers must be at least 2, got 1")]


@real_data
@pytest.mark.parametrize(("script", "option", "value", "message"), BAD, ids=str)
def test_bad_options_end_in_a_line(script, option, value, message, monkeypatch, capsys, tmp_path):
    with pytest.raises(SystemExit) as stop:
        here(script, "--output", tmp_path, "--images", 500, option, value, monkeypatch=monkeypatch)
    assert stop.value.code == 2
    assert re.search(f"error: .*{message}", capsys.readouterr().err)


@real_data
@pytest.mark.benchmarks
@pytest.mark.parametrize("script", ["stacking", "cluster_search"])
def test_the_recorder_hands_options_on(script, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import record
    monkeypatch.setattr(sys, "argv", ["record.py", script, "--images", "3"])
    with pytest.raises(SystemExit):
        record.main()
    assert f"{script}.py: error: --images must be at least" in capsys.readouterr().err


def test_two_settings_make_a_heat_map(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    import hyperparameter_search as script
    rows = [{"param_lr": lr, "param_dropout": dropout, "mean_test_score": lr + dropout, "std_test_score": 0.0,
             "mean_fit_time": 1.0} for lr in (0.1, 0.2) for dropout in (0.0, 0.5)]
    table = script.ranking(pd.DataFrame(rows))
    assert table["accuracy"].tolist() == pytest.approx([0.7, 0.6, 0.2, 0.1])
    assert table["lr"].tolist() == [0.2, 0.1, 0.2, 0.1]
    script.draw(table, tmp_path / "a.png")
    width = pixels(tmp_path / "a.png")[1]
    script.draw(table.assign(third=[1, 2, 3, 4]), tmp_path / "b.png")
    assert pixels(tmp_path / "b.png")[1] > width


@real_data
def test_stacking_compares_members_and_combinations(tmp_path, monkeypatch, capsys):
    here("stacking.py", "--images", 600, "--epochs", 1, "--cv", 2, "--output", tmp_path, monkeypatch=monkeypatch)
    content = json.loads((tmp_path / "ensemble.json").read_text())
    rows = {row["name"]: row for row in content["rows"]}
    assert list(rows) == ["ConvNet", "ResNet", "Inception", "Mixer", "HOG + SVC", "hard voting",
                          "average of the networks", "soft voting of all", "stacking, cv=2", "stacking, prefit"]
    for row in rows.values():
        low, high = row["test_interval"]
        assert low < row["test_accuracy"] < high
        assert row["gain_interval"][0] <= row["gain"] <= row["gain_interval"][1]
    assert rows["HOG + SVC"]["test_accuracy"] > 0.7
    assert rows[content["best_member"]]["gain"] == 0
    assert rows["average of the networks"]["calibration_error_after"] < 0.2
    assert "stacking, prefit" in capsys.readouterr().out
    pixels(tmp_path / "comparison.png")


def test_two_classes_are_stacked(tmp_path, monkeypatch):
    X, y = np.random.default_rng(0).integers(0, 100, (80, 256)), np.arange(80) % 2
    X[y == 1, 64:128] += 100
    pd.DataFrame(X).add_prefix("p").assign(label=y).to_csv(tmp_path / "a.csv", index=False)
    here("stacking.py", "--csv", tmp_path / "a.csv", "--epochs", 1, "--cv", 2, "--output", tmp_path,
         monkeypatch=monkeypatch)
    rows = {row["name"]: row for row in json.loads((tmp_path / "ensemble.json").read_text())["rows"]}
    assert rows["HOG + SVC"]["test_accuracy"] == 1
    assert rows["HOG + SVC"]["log_loss"] < np.log(2)
    assert rows["stacking, cv=2"]["calibration_error_after"] < 0.5


@real_data
def test_a_cluster_that_loses_a_worker_gives_what_one_process_gives(tmp_path):
    out = run("cluster_search.py", "--images", 400, "--epochs", 1, "--output", tmp_path)
    content = json.loads((tmp_path / "cluster.json").read_text())
    assert content["workers_lost"] == 1
    assert content["same"] == dict.fromkeys(["scores of every fold", "probabilities of the best",
                                             "probabilities of the stacking"], True)
    assert "workers lost: 1" in out


@real_data
@pytest.mark.benchmarks
def test_the_benchmark_of_searches_measures_every_way(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import _measure
    import searches
    monkeypatch.setattr(_measure, "RESULTS", tmp_path)
    monkeypatch.setattr(searches, "GRID", {"lr": [1e-3, 1e-2, 3e-2]})
    monkeypatch.setattr(searches, "EPOCHS", 3)
    monkeypatch.setattr(searches, "ENSEMBLES", {"simple_cnn": searches.ENSEMBLES["simple_cnn"]})
    for option in ((), ("--together",)):
        monkeypatch.setattr(sys, "argv", ["searches.py", "--images", "200", "--rounds", "1", *option])
        searches.main()
    result = json.loads((tmp_path / "searches.json").read_text())
    assert set(result["times"]["seconds"]) == {"serial", "2 workers", "2 threads", "halving", "halving, continued"}
    found = result["times"]["found"]
    assert found["2 threads"]["best"] == found["serial"]["best"]
    assert found["halving, continued"] == found["halving"]
    assert result["together"]["networks"]["simple_cnn"]["together / in turn"]["median"] > 0
    memory = searches.measure_memory(np.zeros((20, 28, 28), dtype=np.uint8), np.arange(20) % 2, "cpu", n_fits=20)
    assert [row["fits"] for row in memory["after"]] == [10, 20]

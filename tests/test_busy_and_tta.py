"""The benchmarks of busy machines and of views where a network is unsure, in small."""
import json
import sys

import pytest
from fashion import first_images, real_data
from scripts import BENCHMARKS

from fmnist_sk.recipes import RECIPES

pytestmark = [pytest.mark.benchmarks, real_data]


@pytest.fixture
def results(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import _measure
    monkeypatch.setattr(_measure, "RESULTS", tmp_path)
    return tmp_path


def test_processes_at_once_are_compared_with_one(results, monkeypatch, capsys):
    import busy
    passive = f"{busy.PASSIVE}, 1 at once"
    kept = {"operation, 1 at once", "operation, 2 at once", "fit, random_state=0, 1 at once", passive}
    monkeypatch.setattr(busy, "SIDES", {name: side for name, side in busy.SIDES.items() if name in kept})
    monkeypatch.setattr(sys, "argv", ["busy.py", "--rounds", "1", "--images", "64"])
    busy.main()
    found = json.loads((results / "busy.json").read_text())
    assert {name: len(seconds) for name, seconds in found["seconds"].items()} == dict.fromkeys(kept, 1)
    assert found["ratios"].keys() == {"operation, 2 at once", passive}
    assert found["epochs"] == 4
    assert "operation, 2 at once: " in capsys.readouterr().out


@pytest.mark.parametrize("rounds", [3, 5, 6, 11])
def test_brackets_of_few_rounds_hold_their_range(rounds, results):
    import _measure
    import _tables
    cell = _measure.ratio(list(range(rounds)), [1] * rounds)
    is_range = (cell["low"], cell["high"]) == (0, rounds - 1)
    assert is_range == (_tables.spread(rounds) == f"the range of {rounds} rounds")


def test_a_process_that_fails_is_named(results, monkeypatch):
    import busy
    with pytest.raises(RuntimeError, match="a process ended with status 2"):
        busy.run("unknown", 1, 64, None)


def test_thresholds_are_compared_with_all_views_and_none(results, monkeypatch, capsys):
    import choose_tta
    monkeypatch.setattr(choose_tta, "load_fashion_mnist", first_images)
    monkeypatch.setattr(choose_tta._measure, "HELD_OUT", 200)
    monkeypatch.setattr(sys, "argv", ["choose_tta.py", "--epochs", "1", "--seeds", "0", "--rounds", "1"])
    choose_tta.main()
    recipe = json.loads((results / "choose_tta.json").read_text())["recipes"]["fast"]
    means = recipe["means"]
    assert (means["no views"]["share"], means["all views"]["share"]) == (0, 1)
    shares = [means[str(threshold)]["share"] for threshold in choose_tta.THRESHOLDS]
    assert shares == sorted(shares)
    enough = [way for way in means if means[way]["accuracy"] >= means["all views"]["accuracy"]]
    cheapest = min(enough, key=lambda way: (means[way]["share"], way))
    assert means[{0.0: "no views", None: "all views"}.get(recipe["chosen"], str(recipe["chosen"]))]["share"] == \
        means[cheapest]["share"]
    assert len(recipe["runs"]) == 1
    monkeypatch.setattr(sys, "argv", [*sys.argv[:4], "0", "1", *sys.argv[5:]])
    choose_tta.main()
    again = json.loads((results / "choose_tta.json").read_text())["recipes"]["fast"]
    assert [run["seed"] for run in again["runs"]] == [0, 1]
    assert again["runs"][0] == recipe["runs"][0]            # not trained again
    monkeypatch.setitem(RECIPES["fast"], "lr", 0.05)
    monkeypatch.setattr(sys, "argv", [*sys.argv[:4], "0", *sys.argv[6:]])
    choose_tta.main()
    other = json.loads((results / "choose_tta.json").read_text())["recipes"]["fast"]
    assert len(other["runs"]) == 1                          # those of other settings are gone
    monkeypatch.setattr(sys, "argv", ["choose_tta.py", "--recipes", "default"])
    with pytest.raises(SystemExit):
        choose_tta.main()
    assert "--views must say what to try: the recipe default has none" in capsys.readouterr().err
    assert other["runs"][0] != again["runs"][0]

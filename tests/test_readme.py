"""README.md is true: its examples run as written, its tables are what is measured."""
import json
import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from devices import StaysOnDevice
from estimators import small
from fashion import real_data
from PIL import Image
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import AdaBoostClassifier, BaggingClassifier, StackingClassifier, VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_predict
from sklearn.pipeline import make_pipeline

from fmnist_sk import ImageScaler

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
EXAMPLES = [(title, code) for title, section in re.findall(r"^## ([^\n]*)\n(.*?)(?=^## |\Z)", README,
                                                           re.DOTALL | re.MULTILINE)
            for code in re.findall(r"^```python\n(.*?)^```", section, re.DOTALL | re.MULTILINE)]


@real_data
@pytest.mark.parametrize("code", [code for _, code in EXAMPLES], ids=[title for title, _ in EXAMPLES])
def test_example_runs_as_written(code, capsys, tmp_path, monkeypatch):
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)                                 # where it may write
    for name, colour in (("bags", "red"), ("coats", "green"), ("shoes", "blue")):
        (tmp_path / "my_pictures" / name).mkdir(parents=True)
        for i in range(12):
            Image.new("RGB", (20 + i, 30), colour).save(tmp_path / "my_pictures" / name / f"{i}.png")
    exec(compile(code, "README.md", "exec"), {})
    assert capsys.readouterr().out


@real_data
def test_halving_ends_with_all_epochs(capsys):
    exec(compile(next(code for _, code in EXAMPLES if "Halving" in code), "README.md", "exec"), {})
    assert capsys.readouterr().out.endswith("'max_epochs': 9} [3, 9] 9\n")


def test_there_are_the_promised_examples():
    titles = [title for title, _ in EXAMPLES]
    assert titles == ["What is in this photo?", "A first classifier", "Your own pictures", "Search", "Search", "Stack",
                      "A deep ensemble", "Your own network", "Networks", "Training", "Features", "Pictures",
                      "Save, load, export"]


def _cross_val_predict(net):
    class Estimator:
        def fit(self, X, y):
            self.result = cross_val_predict(net, X, y, cv=2)
            return self

        def predict(self, X):
            return self.result

    return Estimator()


META = {
    "the classifier itself": lambda net: net,
    "Pipeline": lambda net: make_pipeline(ImageScaler(), net),
    "GridSearchCV": lambda net: GridSearchCV(net, {"lr": [0.01]}, cv=2, error_score="raise"),
    "cross_val_predict": _cross_val_predict,
    "VotingClassifier": lambda net: VotingClassifier([("net", net)], voting="soft"),
    "StackingClassifier": lambda net: StackingClassifier([("net", net)], LogisticRegression(), cv=2),
    "CalibratedClassifierCV": lambda net: CalibratedClassifierCV(net, cv=2),
    "BaggingClassifier": lambda net: BaggingClassifier(net, n_estimators=2),
    "AdaBoostClassifier": lambda net: AdaBoostClassifier(net, n_estimators=2),
}
KINDS = {
    "flat": lambda X: X.reshape(len(X), -1),
    "3-D": lambda X: X,
    "4-D": lambda X: X[:, None],
    "tensor on a device": lambda X: (torch.from_numpy(X).cuda() if torch.cuda.is_available()
                                     else torch.from_numpy(X).as_subclass(StaysOnDevice)),
}


def _table(mark):
    rows = re.search(rf"<!-- {mark} -->\n(.*?)<!-- /{mark} -->", README, re.DOTALL)[1].splitlines()
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    return {row[0]: dict(zip(cells[0][1:], row[1:], strict=True)) for row in cells[2:]}


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::RuntimeWarning")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("meta", META)
def test_the_table_of_meta_estimators_is_true(meta, kind, tiny_images):
    X, y = tiny_images(["bag", "coat"])
    images = KINDS[kind](X)
    estimator = META[meta](small("ImageClassifier"))
    if _table("kinds")[meta][kind] == "yes":
        assert (np.asarray(estimator.fit(images, y).predict(images)) == y).mean() > 0.9
    else:
        with pytest.raises((ValueError, TypeError, AssertionError)):
            estimator.fit(images, y)


def test_the_table_of_meta_estimators_is_complete():
    table = _table("kinds")
    assert list(table) == list(META)
    assert all(list(row) == list(KINDS) and set(row.values()) <= {"yes", "no"} for row in table.values())


def test_figures_are_those_of_the_result_files(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["report.py", "--check"])
    monkeypatch.syspath_prepend(str(ROOT / "examples/benchmarks"))
    runpy.run_path(str(ROOT / "examples/benchmarks/report.py"), run_name="__main__")


def test_what_a_search_costs_names_the_revision_of_each_part():
    text = re.search(r"<!-- search -->\n(.*?)<!-- /search -->", README, re.DOTALL)[1]
    result, stacking = (json.loads((ROOT / f"examples/benchmarks/results/{name}.json").read_text())
                        for name in ("searches", "stacking"))
    for part, before in (("times", "median of"), ("memory", "MiB"), ("together", "rounds, ")):
        assert re.search(rf"{before}[^;]*revision {result[part]['git'][:7]}\)", text), part
    assert f"revision {stacking['environment']['git'][:7]}" in text
    assert re.search(r"^\| halving, continued \|.*\n\| stacking: gain over its best member, ", text, re.MULTILINE)


def test_pictures_exist():
    for path in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", README):
        assert (ROOT / path).exists()

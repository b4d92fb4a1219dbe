"""README, guide and results page are true: examples run as written, tables are what is measured, links lead on."""
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
from sklearn.utils import _param_validation, validation

from fmnist_sk import ImageScaler

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "examples/benchmarks/README.md"
PAGES = {path: path.read_text() for path in (ROOT / "README.md", RESULTS,
                                             *sorted((ROOT / "examples/guide").glob("*.md")))}
README = PAGES[ROOT / "README.md"]
EXAMPLES = {f"{path.stem}, {title}": blocks for path, text in PAGES.items()
            for title, section in re.findall(r"^##? ([^\n]*)\n(.*?)(?=^##? |\Z)", text, re.DOTALL | re.MULTILINE)
            if (blocks := re.findall(r"^```python\n(.*?)^```", section, re.DOTALL | re.MULTILINE))}


@real_data
@pytest.mark.parametrize("blocks", [        # another test loses a worker of a cluster
    pytest.param(blocks, id=title, marks=pytest.mark.exhaustive if title == "searches, On a cluster" else ())
    for title, blocks in EXAMPLES.items()])
def test_example_runs_as_written(blocks, capsys, tmp_path, monkeypatch):
    """The blocks of a section share a folder, and nothing else: each could be a script of its own."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)                                 # where it may write
    for name, colour in (("bags", "red"), ("coats", "green"), ("shoes", "blue")):
        (tmp_path / "my_pictures" / name).mkdir(parents=True)
        for i in range(12):
            Image.new("RGB", (20 + i, 30), colour).save(tmp_path / "my_pictures" / name / f"{i}.png")
    for code in blocks:
        exec(compile(code, "README.md", "exec"), {"__name__": "__main__"})
        out = capsys.readouterr().out
        assert out
        assert "HalvingGridSearchCV" not in code or out.endswith("'max_epochs': 9} [3, 9] 9\n")


def test_there_are_the_promised_examples():
    assert [title for title in EXAMPLES if title.startswith("README")] == [
        "README, A first classifier", "README, Your own pictures", "README, Your own network"]
    without = {"results", "troubleshooting", "safety", "index", "guide", "reports", "card"}
    pages = {path.stem for path in PAGES if path.parent.name == "guide"} - without
    assert pages <= {title.partition(",")[0] for title in EXAMPLES}


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
    rows = re.search(rf"<!-- {mark} -->\n(.*?)<!-- /{mark} -->", "".join(PAGES.values()), re.DOTALL)[1].splitlines()
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
    text = re.search(r"<!-- search -->\n(.*?)<!-- /search -->", PAGES[RESULTS], re.DOTALL)[1]
    result, stacking = (json.loads((ROOT / f"examples/benchmarks/results/{name}.json").read_text())
                        for name in ("searches", "stacking"))
    notes = dict(re.findall(r"^\[\^(search-\d)\]: revision (\w+)$", text, re.MULTILINE))
    for part, before in (("times", "median of"), ("memory", "MiB"), ("together", "images, brackets hold"),
                         (None, "ensembles below")):
        environment = result[part] if part else stacking["environment"]
        note = re.search(rf"{before}[^\[;]*?(?:\[[^\]^]*\][^\[;]*?)*\[\^(search-\d)\]", text)[1]
        assert notes[note] == environment["git"][:7], part
    assert re.search(r"^Stacking gains .* over its best member, ", text, re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_to_files_and_headings_that_are_there(page):
    def anchors(path):
        return {re.sub(r"[^\w -]", "", title).strip().lower().replace(" ", "-")
                for title in re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)}

    for link in re.findall(r"\]\((?!https?:)([^)\s]+)\)", PAGES[page]):
        name, _, anchor = link.partition("#")
        path = (page.parent / name) if name else page
        assert path.exists(), link
        assert not anchor or anchor in anchors(path), link


def test_each_limit_is_a_sentence_with_its_result_files():
    lines, file = PAGES[RESULTS].partition("## Limits\n\n")[2].splitlines(), r"\[\w+\.json\]\(results/\w+\.json\)"
    assert len(lines) > 10
    assert [line for line in lines if not re.match(rf"- .*\({file}(, {file})*\)\.$", line)] == []


def test_messages_of_the_troubleshooting_page_are_those_of_the_package():
    of_sklearn = (Path(module.__file__) for module in (_param_validation, validation))
    source = "".join(path.read_text() for path in (*(ROOT / "fmnist_sk").rglob("*.py"), *of_sklearn))
    source = re.sub(r"""["']\s*\n\s*f?["']""", "", source)               # strings over several lines
    messages = re.findall(r"^\| `([^`]+)` \|", PAGES[ROOT / "examples/guide/troubleshooting.md"], re.MULTILINE)
    assert len(messages) >= 20
    assert [message for message in messages if message not in source] == []


def test_the_first_page_is_short():
    assert len(README.splitlines()) <= 180
    assert len(README.split()) <= 1_300

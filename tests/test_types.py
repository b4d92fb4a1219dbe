"""What a type checker tells a user of the package."""
import sys
from pathlib import Path

import pytest

api = pytest.importorskip("mypy.api")
ROOT = Path(__file__).parent.parent
SCRIPT = '''
import numpy as np
from fmnist_sk import ConvNetClassifier, ImageClassifier, ResNetClassifier, load, recipe

X, y = np.zeros((20, 28, 28), dtype=np.uint8), np.arange(20) % 2
reveal_type(ResNetClassifier(width=8, max_epochs=1).fit(X, y))
reveal_type(ResNetClassifier().fit(X, y).predict(X))
reveal_type(ConvNetClassifier(**recipe("fast")).partial_fit(X, y).predict_proba(X))
reveal_type(ConvNetClassifier().lr)
reveal_type(ConvNetClassifier().classes_)
ResNetClassifier(widht=3)
ResNetClassifier(width="wide")
ConvNetClassifier().fit(X)
ConvNetClassifier().predikt(X)
'''


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """What mypy says of each line of the script, by its number."""
    folder = tmp_path_factory.mktemp("types")
    script = folder / "script.py"
    script.write_text(SCRIPT)
    report, errors, _ = api.run([str(script), "--config-file", str(ROOT / "pyproject.toml"), "--python-executable",
                                 sys.executable, "--cache-dir", str(ROOT / ".mypy_cache"), "--hide-error-context"])
    assert not errors
    found = {}
    for line in report.splitlines():
        place, _, text = line.partition(": ")
        if place.startswith(str(script)):
            found.setdefault(int(place.split(":")[-1]), []).append(text)
    return {SCRIPT.splitlines()[number - 1]: texts for number, texts in found.items()}


@pytest.mark.parametrize(("line", "kind"), [
    ("fit(X, y))", "fmnist_sk.networks.resnet.ResNetClassifier"),
    ("predict(X))", "numpy.ndarray"),
    ("predict_proba(X))", "numpy.ndarray"),
    (".lr)", "float"),
    (".classes_)", "numpy.ndarray"),
])
def test_what_a_user_writes_has_a_type(line, kind, answers):
    (text,), = (texts for wrote, texts in answers.items() if wrote.startswith("reveal_type") and wrote.endswith(line))
    assert kind in text


@pytest.mark.parametrize(("line", "error"), [
    ("ResNetClassifier(widht=3)", 'Unexpected keyword argument "widht"'),
    ('ResNetClassifier(width="wide")', "incompatible type"),
    ("ConvNetClassifier().fit(X)", 'Missing positional argument "y"'),
    ("ConvNetClassifier().predikt(X)", 'has no attribute "predikt"'),
])
def test_what_cannot_work_is_an_error(line, error, answers):
    assert any(error in text for text in answers[line])


def test_nothing_else_is_an_error(answers):
    assert sum("error" in text for texts in answers.values() for text in texts) == 4

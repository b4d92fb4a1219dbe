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


TYPES = {
    "fit(X, y))": "fmnist_sk.networks.resnet.ResNetClassifier",
    "predict(X))": "numpy.ndarray",
    "predict_proba(X))": "numpy.ndarray",
    ".lr)": "float",
    ".classes_)": "numpy.ndarray",
}
ERRORS = {
    "ResNetClassifier(widht=3)": 'Unexpected keyword argument "widht"',
    'ResNetClassifier(width="wide")': "incompatible type",
    "ConvNetClassifier().fit(X)": 'Missing positional argument "y"',
    "ConvNetClassifier().predikt(X)": 'has no attribute "predikt"',
}


def test_what_a_user_writes_has_a_type_and_what_cannot_work_is_an_error(tmp_path):
    script = tmp_path / "what_a_user_writes.py"
    script.write_text(SCRIPT)
    report, errors, _ = api.run([str(script), "--config-file", str(ROOT / "pyproject.toml"), "--python-executable",
                                 sys.executable, "--cache-dir", str(ROOT / ".mypy_cache"), "--hide-error-context"])
    assert not errors
    answers = {}
    for line in report.splitlines():
        place, _, text = line.partition(": ")
        if Path(place.partition(":")[0]).name == script.name:          # mypy's cache may know it from another folder
            answers.setdefault(SCRIPT.splitlines()[int(place.split(":")[-1]) - 1], []).append(text)
    for end, kind in TYPES.items():
        (text,), = (texts for line, texts in answers.items() if line.startswith("reveal_type") and line.endswith(end))
        assert kind in text, end
    for line, error in ERRORS.items():
        assert any(error in text for text in answers[line]), line
    assert sum("error" in text for texts in answers.values() for text in texts) == len(ERRORS)

"""Models that earlier versions have saved are read by this one, and say the same."""
import json
import runpy
from pathlib import Path

import numpy as np
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import StackingClassifier

from fmnist_sk import DeepEnsembleClassifier, ImageScaler, load

# What is around classifiers was stored in a form that may run code.
TRUSTED = {"pipeline": [ImageScaler], "ensemble": [DeepEnsembleClassifier], "stacking": [StackingClassifier],
           "calibrated": [CalibratedClassifierCV]}
SAVED = Path(__file__).parent / "saved"
MODELS = sorted(SAVED.glob("*/*.safetensors"))


def test_there_are_models_of_every_kind():
    script = runpy.run_path(str(SAVED / "write.py"))
    first = {path.stem for path in MODELS if path.parent.name == "0.1.0"}
    assert first <= set(script["models"]())
    assert len(first) == 7


@pytest.mark.parametrize("path", MODELS, ids=lambda path: f"{path.parent.name} {path.stem}")
def test_models_of_earlier_versions_say_the_same(path):
    X, y = runpy.run_path(str(SAVED / "write.py"))["data"]()
    model = load(path, device="cpu", trusted=TRUSTED.get(path.stem, ()))
    expected = np.array(json.loads((path.parent / "probabilities.json").read_text())[path.stem])
    np.testing.assert_allclose(model.predict_proba(X[:10]), expected, atol=1e-4)
    assert set(model.predict(X)) <= set(y)
    assert model.fit(X, y).predict_proba(X).shape == (60, 3)        # settings are whole too

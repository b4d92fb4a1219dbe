"""Writes models with this version, which every later one must read: python tests/saved/write.py

Into a folder named after the version, once, at its release: what lies there is never written anew.
"""
import json
import sys
from pathlib import Path

import numpy as np
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import StackingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

import fmnist_sk
from fmnist_sk import ConvNetClassifier, DeepEnsembleClassifier, ImageScaler, MLPMixerClassifier, ResNetClassifier, save

FEW = {"max_epochs": 3, "batch_size": 20, "random_state": 0, "precision": "fp32", "device": "cpu"}


def data():
    """Images (60, 8, 8) uint8 and labels (60,)."""
    rng = np.random.default_rng(0)
    codes = np.arange(60) % 3
    X = rng.integers(0, 60, (60, 8, 8), dtype=np.uint8)
    for image, code in zip(X, codes, strict=True):
        image[2 * code:2 * code + 4] += np.uint8(120)
    return X, np.array(["bag", "coat", "shirt"])[codes]


def models():
    conv = ConvNetClassifier(architecture="4C3-MP2-8N", **FEW)
    resnet = ResNetClassifier(width=4, n_blocks=(1,), hidden=8, augment="light", ema=0.9, tta="mirror", **FEW)
    return {
        "conv": conv, "resnet": resnet, "mixer": MLPMixerClassifier(patch_size=2, width=8, n_blocks=1, patch_hidden=8,
                                                                   feature_hidden=8, **FEW),
        "pipeline": make_pipeline(ImageScaler(), conv),
        "ensemble": DeepEnsembleClassifier(conv, n_members=2, random_state=0),
        "stacking": StackingClassifier([("conv", conv), ("resnet", resnet)], LogisticRegression(), cv=2),
        "calibrated": CalibratedClassifierCV(conv, cv=2, ensemble=False),
    }


def main():
    folder = Path(__file__).parent / fmnist_sk.__version__
    if folder.exists():
        sys.exit(f"{folder} is there already")
    folder.mkdir()
    X, y = data()
    expected = {}
    for name, model in models().items():
        save(model.fit(X, y), folder / f"{name}.safetensors")
        expected[name] = model.predict_proba(X[:10]).tolist()
    (folder / "probabilities.json").write_text(json.dumps(expected))


if __name__ == "__main__":
    main()

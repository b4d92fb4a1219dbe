"""examples/train.py as a module, and what its runs leave."""
import importlib.util
import json
import sys

import numpy as np
import pandas as pd
from scripts import EXAMPLES

import fmnist_sk

FASHION = {"data_home": None, "folder": None, "csv": None, "size": 28, "color": "gray"}     # its data


def load_train():
    """The script, which tests on few images."""
    spec = importlib.util.spec_from_file_location("train_script", EXAMPLES / "train.py")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(EXAMPLES))
    spec.loader.exec_module(module)
    sys.path.remove(str(EXAMPLES))
    load = module.load

    def load_few_test_images(subset, *args, **options):
        data = load(subset, *args, **options)
        return data.take(range(500)) if subset == "test" and len(data.codes) > 500 else data

    module.load = load_few_test_images
    return module


def digest(folder):
    """What must be the same when a run is repeated."""
    model = fmnist_sk.load(folder / "model.safetensors")
    images = np.random.default_rng(0).integers(0, 256, (20, *model.image_shape_), dtype=np.uint8)
    history = pd.read_csv(folder / "history.csv").drop(columns="dur")
    results = json.loads((folder / "results.json").read_text())
    del results["seconds"]
    return model.predict_proba(images).tobytes(), history.to_csv(), results

"""What the benchmarks share: the machine's description, paired timing with bootstrap intervals, result files."""
from __future__ import annotations

import argparse
import datetime
import json
import math
import os
import platform
import random
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import sklearn
import skorch
import torch
from sklearn.base import clone
from sklearn.model_selection import train_test_split

import fmnist_sk
from fmnist_sk._runtime.precision import compute_dtype
from fmnist_sk._storage.files import replacing

HELD_OUT = 6_000            # training images that settings are chosen by
RESULTS = Path(__file__).parent / "results"


def arithmetic(classifier: fmnist_sk.ImageClassifier) -> str:
    """What a fitted classifier computes with: "bfloat16" or "float32"."""
    return str(compute_dtype(classifier.precision, classifier.device_)).removeprefix("torch.")


def environment() -> dict:
    """Versions, hardware, allocator settings and git revision: what a figure depends on."""
    def git(*arguments):
        try:
            return subprocess.run(["git", "-C", str(RESULTS), *arguments], capture_output=True, text=True,
                                  check=True).stdout.strip()
        except (OSError, subprocess.CalledProcessError):
            return None

    written = "benchmarks/results", "fmnist_sk/pretrained"           # what the scripts write
    changes = [line for line in (git("status", "--porcelain") or "").splitlines()
               if not any(name in line for name in written)]
    processor = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        names = [line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                 if line.startswith("model name")]
        processor = names[0] if names else processor
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "git": git("rev-parse", "HEAD"), "uncommitted_changes": bool(changes),
        "fmnist_sk": fmnist_sk.__version__, "torch": torch.__version__, "skorch": skorch.__version__,
        "scikit-learn": sklearn.__version__, "numpy": np.__version__, "python": platform.python_version(),
        "processor": processor, "instructions": torch.backends.cpu.get_cpu_capability(), "cores": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "allocator": {name: os.environ.get(name) for name in ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")},
    }


def of_a_row() -> dict:
    """What a row of a file depends on whose rows may be of several runs."""
    found = environment()
    return {key: found[key] for key in ("git", "uncommitted_changes", "torch", "torch_threads", "processor",
                                        "instructions", "gpu")}


def text_of(estimator) -> str:
    """All settings that are not the class's defaults, on one line."""
    return " ".join(estimator.__repr__(N_CHAR_MAX=10**6).split())


def fitted(estimator, X, y, device: str, folder: Path, **params):
    """The estimator, trained on these images after its teacher if it has one. A call that was interrupted continues."""
    network = estimator.get_params(deep=False).get("estimator", estimator)
    network.set_params(device=device, checkpoint=folder, **params)
    if network.teacher is not None:
        network.teacher = fitted(clone(network.teacher), X, y, device, folder.parent / "teachers", keep_checkpoint=True)
    return estimator.fit(X, y)


def held_out(train) -> list[np.ndarray]:
    """X, X_valid, y, y_valid out of the training images, always the same."""
    return train_test_split(train.images, train.target, test_size=HELD_OUT, stratify=train.target, random_state=0)


def seed(text: str) -> int:
    """A random seed out of a command line."""
    return _number(text, int, lambda seed: 0 <= seed < 2**32, "a whole number from 0 to 4294967295")


def count(text: str) -> int:
    """How many of something, out of a command line."""
    return _number(text, int, lambda number: number > 0, "a whole number above 0")


def minutes(text: str) -> float:
    """A time out of a command line."""
    return _number(text, float, lambda number: 0 < number < math.inf, "a number above 0")


def _number(text, kind, is_right, rule):
    try:
        number = kind(text)
    except ValueError:
        number = math.nan
    if not is_right(number):
        raise argparse.ArgumentTypeError(f"must be {rule}, got {text}")
    return number


def device(name: str) -> str:
    """A device out of a command line: cpu, cuda or cuda:1 and the like."""
    try:
        kind = torch.zeros((), device=name).device.type
    except (RuntimeError, AssertionError) as error:
        raise argparse.ArgumentTypeError(f"must name a device of this machine, got {name} ({error})") from None
    if kind not in ("cpu", "cuda"):
        raise argparse.ArgumentTypeError(f"must be cpu or cuda, got {name}")
    return "cpu" if kind == "cpu" else name


def file_name(text: str) -> str:
    """The name of a result file, without folder and ending, out of a command line."""
    if not text or text in (".", "..") or Path(text).name != text:
        raise argparse.ArgumentTypeError(f"must be a name without folders, got {text}")
    return text


def name_on(name: str, device: str) -> str:
    """The result file of a script whose figures of CPU and CUDA stand side by side."""
    return name if device == "cpu" else f"{name}_cuda"


def write(name: str, content: dict) -> Path:
    """Write results/NAME.json with the environment, whole or not at all."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    with replacing(path) as file:
        file.write((json.dumps({"environment": environment(), **content}, indent=1) + "\n").encode())
    return path


def read(name: str, parts: Iterable[str]) -> dict:
    """The content of results/NAME.json, empty if there is none; ends the script if it is another script's file."""
    path = RESULTS / f"{name}.json"
    try:
        content = json.loads(path.read_text()) if path.exists() else {}
    except ValueError as error:
        sys.exit(f"{path} is damaged ({error}): delete it, or choose another --name")
    content.pop("environment", None)
    if others := content.keys() - set(parts):
        sys.exit(f"{path} belongs to another script, with {', '.join(sorted(others))}: choose another --name")
    return content


def end_on_ctrl_c(main: Callable[[], None], how: str = "the same command continues") -> None:
    """Call `main`; Ctrl-C ends the process with one sentence.

    At once, because threads that are still training would abort it; what they have done is in their checkpoints.
    """
    try:
        main()
    except KeyboardInterrupt:
        print(f"interrupted: what is complete is kept, and {how}", file=sys.stderr, flush=True)
        os._exit(130)


def alternate(sides: dict[str, Callable[[], float]], rounds: int, seed: int = 0, verbose: bool = True
              ) -> dict[str, list[float]]:
    """Seconds of each side in each round; one warm-up round that does not count; a new order every round."""
    shuffle, times = random.Random(seed).shuffle, {name: [] for name in sides}
    for round_ in range(-1, rounds):
        names = list(sides)
        shuffle(names)
        for name in names:
            seconds = sides[name]()
            if round_ >= 0:
                times[name].append(seconds)
        if verbose:
            print(f"  round {round_ + 1} of {rounds}" if round_ >= 0 else "  warm-up", flush=True)
    return times


def ratio(numerator: list[float], denominator: list[float], seed: int = 0) -> dict[str, float]:
    """Median over rounds of the paired ratio, with a 95 % bootstrap interval (10,000 resamples of the rounds).

    Of fewer than six rounds, that is their range.
    """
    ratios = np.array(numerator) / np.array(denominator)
    samples = np.median(np.random.default_rng(seed).choice(ratios, (10_000, len(ratios))), axis=1)
    low, high = np.quantile(samples, [0.025, 0.975])
    return {"median": statistics.median(ratios), "low": float(low), "high": float(high)}

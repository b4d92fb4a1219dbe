"""Where the scripts of examples/ are, how a user runs them, and what their pictures hold.

A script runs in a process of its own, a fork of one that has imported what all of them import.
"""
import multiprocessing
import os
import runpy
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

EXAMPLES = Path(__file__).parent.parent / "examples"
BENCHMARKS = EXAMPLES / "benchmarks"
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["fmnist_sk", "matplotlib.pyplot", "pandas"])


def run(script, *arguments, **variables):
    """What the script prints with these arguments and environment variables."""
    code, out, errors = _run(script, arguments, Path.cwd(), variables)
    assert code == 0, errors
    return out


def fails(script, *arguments, cwd):
    """The message with which the script refuses these arguments."""
    code, _, errors = _run(script, arguments, cwd, {})
    assert code == 2
    assert "Traceback" not in errors
    return errors


def _run(script, arguments, folder, variables):
    """Exit status, output and error messages."""
    with tempfile.TemporaryDirectory() as name:
        files = [Path(name) / "out", Path(name) / "errors"]
        process = PROCESSES.Process(target=_main, args=(EXAMPLES / script, list(map(str, arguments)), folder,
                                                        {**os.environ, **variables}, files))
        process.start()
        process.join()
        return process.exitcode, *(file.read_text() if file.exists() else "" for file in files)


def _main(script, arguments, folder, variables, files):
    for number, file in enumerate(files, 1):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT), number)
    os.environ.clear()
    os.environ.update(variables)
    os.chdir(folder)
    sys.argv, sys.path[:0] = [str(script), *arguments], [str(script.parent)]
    runpy.run_path(str(script), run_name="__main__")


def pixels(path):
    """The picture is there, and not empty."""
    with Image.open(path) as image:
        values = np.asarray(image.convert("L"))
    assert values.std() > 5, path
    return values.shape

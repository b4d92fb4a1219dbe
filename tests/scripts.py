"""Where the scripts of examples/ are, how a user runs them, and what their pictures hold."""
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

EXAMPLES = Path(__file__).parent.parent / "examples"
BENCHMARKS = EXAMPLES / "benchmarks"


def run(script, *arguments, **variables):
    result = subprocess.run([sys.executable, str(EXAMPLES / script), *map(str, arguments)], capture_output=True,
                            text=True, env={**os.environ, **variables})
    assert result.returncode == 0, result.stderr
    return result.stdout


def pixels(path):
    """The picture is there, and not empty."""
    with Image.open(path) as image:
        values = np.asarray(image.convert("L"))
    assert values.std() > 5, path
    return values.shape

"""Run a script of examples/ and keep its measurements in results/, for the page of results.

    python examples/benchmarks/record.py stacking --images 20000 --cv 3      # results/stacking.json
    python examples/benchmarks/record.py cluster_search                      # results/cluster_search.json

Everything after the script's name is passed to it as options. Run nothing else meanwhile.
"""
import argparse
import json
import runpy
import sys
import tempfile
from pathlib import Path

import _measure

WRITES = {"stacking": "ensemble.json", "cluster_search": "cluster.json"}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("script", choices=WRITES)
    args, options = parser.parse_known_args()
    path = Path(__file__).parent.parent / f"{args.script}.py"
    with tempfile.TemporaryDirectory() as output:
        sys.argv = [str(path), *options, "--output", output]
        sys.path.insert(0, str(path.parent))
        try:
            runpy.run_path(str(path), run_name="__main__")
        except SystemExit as stop:
            if stop.code:
                raise
        content = json.loads((Path(output) / WRITES[args.script]).read_text())
    print(f"wrote {_measure.write(args.script, content)}")


if __name__ == "__main__":
    main()

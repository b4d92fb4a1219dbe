"""The table of examples/stacking.py, measured for README: members and combinations, with confidence intervals.

    python examples/benchmarks/ensembles.py --images 60000 --cv 3

Takes the options of examples/stacking.py. Writes results/ensembles.json.
"""
import json
import sys
import tempfile
from pathlib import Path

import _measure

sys.path.insert(0, str(Path(__file__).parent.parent))
import stacking


def main():
    if "--help" in sys.argv:
        print(__doc__)
    elif "--output" not in sys.argv:
        sys.argv += ["--output", tempfile.mkdtemp()]
    stacking.main()
    output = Path(sys.argv[sys.argv.index("--output") + 1])
    print(f"wrote {_measure.write('ensembles', json.loads((output / 'ensemble.json').read_text()))}")


if __name__ == "__main__":
    main()

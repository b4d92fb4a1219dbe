"""What report.py writes figures with: result files, where they were measured, means and intervals as text."""
import json
import statistics
from pathlib import Path

RESULTS = Path(__file__).parent / "results"


def load(name):
    return json.loads((RESULTS / f"{name}.json").read_text())


def is_there(name):
    """Whether a script has written its results; if not, it is named."""
    if not (RESULTS / f"{name}.json").exists():
        print(f"results/{name}.json is not there, so its tables are left out: run python examples/benchmarks/{name}.py")
        return False
    return True


def results(name):
    """What a script has measured, on CPU and on CUDA: as many as there are."""
    if is_there(name):
        yield load(name)
    if (RESULTS / f"{name}_cuda.json").exists():
        yield load(f"{name}_cuda")


def where(result):
    environment = result["environment"]
    machine = environment["gpu"] if result.get("device", "cpu") != "cpu" else \
        f"{environment['cores']} cores of {environment['processor']}"
    return f"{machine}, PyTorch {environment['torch']}, {revisions([environment])}"


def machines(runs, mark=""):
    """Where these runs were done; `mark` is how a table marks those on CUDA."""
    found = {}
    for run in runs:
        found.setdefault((is_cuda(run), run["gpu"] if is_cuda(run) else run["processor"], run["torch"]), []).append(run)
    texts = []
    for (on_cuda, machine, torch), own in sorted(found.items()):
        threads = sorted({run["torch_threads"] for run in own})
        machine = f"{mark and f'{mark}: '}{machine}" if on_cuda else \
            f"{' or '.join(map(str, threads))} core{'s' * (threads != [1])} of {machine}"
        texts.append(f"{machine}, PyTorch {torch}, {' or '.join(sorted({run['arithmetic'] for run in own}))}")
    return "; ".join(texts)


def is_cuda(run):
    return run.get("device", "cpu") != "cpu"


def seconds(value):
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}" if value >= 3 else f"{value:.2f}"


def revisions(runs):
    return "revision " + ", ".join(sorted({run["git"][:7] if run["git"] else "unknown" for run in runs}))


def percent(values):
    """Mean and standard deviation of several shares, or a single one."""
    mean = f"{100 * statistics.mean(values):.2f}"
    return f"{mean} ± {100 * statistics.stdev(values):.2f}" if len(values) > 1 else mean


def interval(cell):
    return f"{cell['median']:.2f} [{cell['low']:.2f}, {cell['high']:.2f}]"

"""What report.py writes figures with: result files, where they were measured, means and intervals as text."""
import json
import re
import statistics
import sys
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
CHANGED = " with uncommitted changes"       # after a revision


def load(name):
    path = RESULTS / f"{name}.json"
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        sys.exit(f"{path} is not there: run the script that writes it")
    except ValueError as error:
        sys.exit(f"{path} is damaged: {error}")


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


def of_each_file(name, table):
    """The lines of a table for each file of a script."""
    return [line for result in results(name) for line in ["", *table(result)]][1:]


def where(result):
    environment = result["environment"]
    machine = environment["gpu"] if result.get("device", "cpu") != "cpu" else \
        f"{environment['cores']} cores of {environment['processor']}"
    return f"{machine}, PyTorch {environment['torch']}, {revisions([environment])}"


def where_of(runs):
    """Where runs were done, as far as each of them says: older ones do not say it all."""
    full, rest = ([run for run in runs if ("processor" in run) == is_full] for is_full in (True, False))
    threads, dated = ([run for run in found if key in run] for found, key in ((rest, "torch_threads"), (runs, "git")))
    texts = [f"{hardware(full)}, PyTorch {', '.join(sorted({run['torch'] for run in full}))}"] if full else []
    if threads:
        texts.append(f"{older(len(threads))} on {cores(threads)} of a processor that was not recorded")
    if len(dated) < len(runs):
        texts.append(f"{older(len(runs) - len(dated))} without a record of hardware and revision")
    return "; ".join(texts) + (f", {revisions(dated)}" if dated else "")


def older(n):
    return "1 older run" if n == 1 else f"{n} older runs"


def machines(runs, mark=""):
    """Where these runs were done; `mark` is how a table marks those on CUDA."""
    found = {}
    for run in runs:
        found.setdefault((is_cuda(run), run["gpu"] if is_cuda(run) else run["processor"], run["torch"]), []).append(run)
    texts = []
    for (on_cuda, machine, torch), own in sorted(found.items()):
        machine = f"{mark and f'{mark}: '}{machine}" if on_cuda else f"{cores(own)} of {machine}"
        texts.append(f"{machine}, PyTorch {torch}, {' or '.join(sorted({run['arithmetic'] for run in own}))}")
    return "; ".join(texts)


def cores(runs):
    """What runs had of a machine: "1 or 2 cores", or its GPU."""
    if any(map(is_cuda, runs)):
        return "GPU"
    threads = sorted({run["torch_threads"] for run in runs})
    return f"{' or '.join(map(str, threads))} core{'s' * (threads != [1])}"


def machine(run):
    """The GPU or processor of a run, by its short name."""
    return run["gpu"] if is_cuda(run) else re.sub(r"\(R\)| Processor$", "", run["processor"])


def hardware(runs):
    """What runs of one row had: "2 cores of AMD EPYC", or a GPU."""
    names = " or ".join(dict.fromkeys(map(machine, runs)))
    return names if is_cuda(runs[0]) else f"{cores(runs)} of {names}"


def is_cuda(run):
    return run.get("device", "cpu") != "cpu"


def seconds(value):
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}" if value >= 3 else f"{value:.2f}"


def revisions(runs):
    return "revision " + ", ".join(sorted({
        (run["git"][:7] if run["git"] else "unknown") + CHANGED * bool(run.get("uncommitted_changes"))
        for run in runs}))


def percent(values):
    """Mean and standard deviation of several shares, or a single one."""
    mean = f"{100 * statistics.mean(values):.2f}"
    return f"{mean} ± {100 * statistics.stdev(values):.2f}" if len(values) > 1 else mean


def spread(rounds):
    """What the brackets of `interval` hold, which come from resampled rounds."""
    return f"95 % bootstrap interval over {rounds} rounds" if rounds >= 6 else f"the range of {rounds} rounds"


def interval(cell):
    return f"{cell['median']:.2f} [{cell['low']:.2f}, {cell['high']:.2f}]"

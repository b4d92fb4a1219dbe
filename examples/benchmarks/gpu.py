"""Run everything that needs a GPU within a given time: the tests marked cuda, then the benchmarks, shortest first.

    python examples/benchmarks/gpu.py                                   # 12 minutes
    python examples/benchmarks/gpu.py --minutes 40 --only "reports' systems" --copy-to results_of_today
    python examples/benchmarks/gpu.py --list

Each step is a command in a process of its own. A step that fails does not end the others. A step that is still running
when its share of the time is over is interrupted, as by Ctrl-C. The scripts keep what is complete after each fit, so a
later call continues; only searches begin anew. The last lines say how each step ended. With --copy-to, the result files
are copied there after each step.
"""
import argparse
import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import _measure

ROOT = Path(__file__).parent.parent.parent
GRACE = 20          # seconds for a process that was interrupted, before it is killed


class Step(NamedTuple):
    command: str            # after "python"; {device} is that of --device
    share: float            # of the time that is left, at most


SCRIPT = "examples/benchmarks/{}.py --device {{device}}"
STEPS = {
    "tests": Step("-m pytest -q -p no:cacheprovider -m cuda tests", 0.25),
    "speedrun": Step(SCRIPT.format("speedrun"), 0.2),
    "speedrun, choose": Step(SCRIPT.format("speedrun") + " --choose", 0.2),
    "epochs and predictions": Step(SCRIPT.format("peers") + " --parts epochs inference peak", 0.25),
    "searches": Step(SCRIPT.format("searches"), 0.25),
    "members together": Step(SCRIPT.format("searches") + " --together", 0.25),
    "reports' systems": Step(SCRIPT.format("reference_systems") + " --resume --jobs 4", 0.6),
    "accuracy": Step(SCRIPT.format("accuracy"), 1.0),
}


def run(step, device, seconds):
    """How a step ended: "done", "failed with status 1" or "interrupted".

    Its own processes, which would slow the next step, end with it.
    """
    command = [sys.executable, *shlex.split(step.command.format(device=device))]
    print("+", shlex.join(["python", *command[1:]]), f"(at most {seconds:.0f} s)", flush=True)
    with subprocess.Popen(command, cwd=ROOT, start_new_session=True) as process:
        try:
            status = process.wait(seconds)
            return "done" if not status else f"failed with status {status}"
        except (subprocess.TimeoutExpired, KeyboardInterrupt) as error:
            os.killpg(process.pid, signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(GRACE)
            if isinstance(error, KeyboardInterrupt):
                raise
            return "interrupted"
        finally:
            with contextlib.suppress(ProcessLookupError):       # all have ended
                os.killpg(process.pid, signal.SIGKILL)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=_measure.minutes, default=12, help="time for all steps (default: 12)")
    parser.add_argument("--only", nargs="+", choices=STEPS, default=list(STEPS), metavar="NAME",
                        help="these steps (default: all)")
    parser.add_argument("--device", type=_measure.device, help="cpu or cuda (default: cuda)")
    parser.add_argument("--copy-to", type=Path, metavar="FOLDER", help="copy the result files there after each step")
    parser.add_argument("--list", action="store_true", help="print the steps and run none")
    args = parser.parse_args()
    if args.list:
        device = args.device or "cuda"
        print("\n".join(f"{name}: python {STEPS[name].command.format(device=device)}" for name in args.only))
        return
    if args.device is None:
        args.device = parser.parse_args(["--device", "cuda"]).device            # ends the script if there is none
    end = time.monotonic() + 60 * args.minutes
    ended = {}
    for name in args.only:
        left = end - time.monotonic() - GRACE
        begin = time.monotonic()
        how = run(STEPS[name], args.device, STEPS[name].share * left) if left > 0 else "no time left"
        ended[name] = f"{how}, {time.monotonic() - begin:.0f} s"
        if args.copy_to:
            args.copy_to.mkdir(parents=True, exist_ok=True)
            for path in _measure.RESULTS.glob("*.json"):
                shutil.copy(path, args.copy_to)
    print("\n".join(f"{name}: {how}" for name, how in ended.items()))
    if any(how.startswith("failed") for how in ended.values()):
        sys.exit(1)


if __name__ == "__main__":
    _measure.end_on_ctrl_c(main, "a later call continues")

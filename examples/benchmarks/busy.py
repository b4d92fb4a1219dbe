"""How long a fit takes on a busy machine and in a container, compared with a machine of its own.

    python examples/benchmarks/busy.py                  # a quarter of an hour
    python examples/benchmarks/busy.py --rounds 1 --images 300

Several processes train at the same time, each with as many threads as there are processors. They train the package's
default network, or the network "cnn" of peers.py in a hand-written loop. "operation" is what both consist of: an
addition that threads share, at whose end each waits for the others: by default it keeps its processor for a while, with
OMP_WAIT_POLICY=passive it leaves it to other programs at once. A container has half of the processors, by a quota
of its control group; this part needs root on Linux, and is skipped elsewhere.

Writes results/busy.json: seconds of each round, and ratios. Run nothing else meanwhile.
"""
import argparse
import os
import statistics
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import _measure
import numpy as np
import torch
from _sides import start
from _task import Task

from fmnist_sk import ResNetClassifier, load_fashion_mnist

EPOCHS = 4      # of each fit
PASSIVE = "fit, random_state=0, OMP_WAIT_POLICY=passive"
QUOTA = {       # file system of the control groups: the file of the quota, in microseconds of each tenth of a second
    Path("/sys/fs/cgroup/cpu"): ("cpu.cfs_quota_us", "{}"), Path("/sys/fs/cgroup"): ("cpu.max", "{} 100000")}


def operation(n_images):
    """Seconds of one addition, as a mean of 200."""
    x = torch.zeros(2**18)
    begin = time.perf_counter()
    for _ in range(200):
        x.add_(1)
    return (time.perf_counter() - begin) / 200


def fit(**params):
    def seconds(n_images):
        train = load_fashion_mnist("train")
        classifier = ResNetClassifier(max_epochs=EPOCHS, **params)
        classifier.fit(train.images[:n_images], train.target[:n_images])
        return sum(classifier.history_[:, "dur"])

    return seconds


def hand_written(n_images):
    train = load_fashion_mnist("train")
    task = Task("cnn", train.images[:n_images], train.target[:n_images].astype(np.int64), torch.device("cpu"))
    train, _ = start("hand-written loop", task)
    return sum(train(1) for _ in range(EPOCHS))


WORK = {"operation": operation, "fit": fit(), "fit, random_state=0": fit(random_state=0),
        PASSIVE: fit(random_state=0), "fit, n_threads=1": fit(n_threads=1), "hand-written loop": hand_written}


class Side(NamedTuple):
    """What processes do, how many there are, whether they are in a container, and the side that it is compared with."""

    work: str
    n: int
    is_inside: bool = False
    than: str | None = None


SIDES = {**{f"{work}, 1 at once": Side(work, 1) for work in WORK},
         **{f"{work}, 2 at once": Side(work, 2, than=f"{work}, 1 at once") for work in WORK},
         **{f"{work}, half of the processors": Side(work, 1, True, f"{work}, 1 at once")
            for work in ("fit", "hand-written loop")}}
SIDES[f"{PASSIVE}, 1 at once"] = Side(PASSIVE, 1, than="fit, random_state=0, 1 at once")


class Process:
    """Does its work once, when it is told to."""

    def __init__(self, work, n_images, group=None):
        command = [sys.executable, "-W", "ignore", __file__, "--work", work, "--images", str(n_images)]
        if group is not None:           # it sees its own control group where a container does
            command = ["unshare", "-m", "sh", "-c",
                       'echo $$ > "$0/cgroup.procs" && mount --bind "$0" "$1" && shift && exec "$@"',
                       str(group), str(group.parent), *command]
        variables = os.environ | ({"OMP_WAIT_POLICY": "passive"} if work == PASSIVE else {})
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        env=variables)
        self.expect("ready")

    def expect(self, word):
        line = self.process.stdout.readline().split()
        if line[:1] != [word]:
            raise RuntimeError(f"a process ended with status {self.process.wait()}, after {' '.join(line)!r}")
        return line[1:]

    def begin(self):
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def seconds(self):
        found = float(self.expect("seconds")[0])
        self.process.communicate()
        return found


@contextmanager
def half_of_the_processors():
    """A control group with that quota; None where none can be made."""
    n, made = max(1, os.cpu_count() // 2), None
    for root, (name, value) in QUOTA.items():
        group = root / f"busy-{os.getpid()}"
        try:
            group.mkdir()
            made = group
            (group / name).write_text(value.format(100_000 * n))
            break
        except OSError:
            if made:
                made.rmdir()
            made = None
    try:
        yield made
    finally:
        if made:
            made.rmdir()


def run(work, n, n_images, group):
    """Mean seconds of processes that begin at once."""
    processes = [Process(work, n_images, group) for _ in range(n)]
    for process in processes:
        process.begin()
    return statistics.mean([process.seconds() for process in processes])


def work_of_a_process(work, n_images):
    torch.set_num_threads(os.cpu_count())       # as PyTorch counts them, whatever the quota is
    WORK[work](min(n_images, 256))              # libraries choose their kernels
    print("ready", flush=True)
    sys.stdin.readline()
    print("seconds", WORK[work](n_images), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=_measure.count, default=6, help="rounds of all sides in turn (default: 6)")
    parser.add_argument("--images", type=_measure.count, default=3_000, help="images per epoch (default: 3000)")
    parser.add_argument("--name", type=_measure.file_name, default="busy", help="name of the result file")
    parser.add_argument("--work", choices=WORK, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work:
        return work_of_a_process(args.work, args.images)
    with half_of_the_processors() as group:
        if group is None:
            print("no quota can be set here: containers are skipped", flush=True)
        sides = {name: side for name, side in SIDES.items() if group or not side.is_inside}
        times = _measure.alternate({name: lambda side=side: run(
            side.work, side.n, args.images, group if side.is_inside else None) for name, side in sides.items()},
            args.rounds)
    ratios = {name: _measure.ratio(times[name], times[side.than]) for name, side in sides.items() if side.than}
    for name, ratio in ratios.items():
        print(f"{name}: {ratio['median']:.1f} times as long")
    settings = {"images": args.images, "epochs": EPOCHS}
    print(f"wrote {_measure.write(args.name, {**settings, 'seconds': times, 'ratios': ratios})}")


if __name__ == "__main__":
    _measure.end_on_ctrl_c(main, "nothing was complete yet")

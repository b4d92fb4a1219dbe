"""The script that runs what needs a GPU in a given time, tried with short commands on the CPU."""
import re
import sys
import time
from pathlib import Path

import pytest
import torch
from scripts import BENCHMARKS

pytestmark = pytest.mark.benchmarks


@pytest.fixture
def script(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import _measure
    import gpu
    monkeypatch.setattr(_measure, "RESULTS", tmp_path / "results")
    (tmp_path / "results").mkdir()
    monkeypatch.setattr(gpu, "GRACE", 1)

    def run(*options, **commands):
        monkeypatch.setattr(gpu, "STEPS", {name: gpu.Step(command, share) for name, (command, share) in commands.items()
                                           } or gpu.STEPS)
        monkeypatch.setattr(sys, "argv", ["gpu.py", *map(str, options)])
        gpu.main()

    return run


def test_a_step_that_fails_or_takes_too_long_ends_no_other(script, capfd, tmp_path):
    (tmp_path / "results" / "one.json").write_text("{}")
    with pytest.raises(SystemExit):
        script("--device", "cpu", "--minutes", 0.2, "--copy-to", tmp_path / "copies",
               first=("-c 'raise SystemExit(3)'", 0.5), second=("-c 'import time; time.sleep(60)'", 0.1),
               third=("-c 'print(\"device {device}\")'", 0.5))
    out = capfd.readouterr().out
    assert re.search(r"^first: failed with status 3, \d s\nsecond: interrupted, \d s\nthird: done, \d s$", out, re.M)
    assert "device cpu" in out
    assert (tmp_path / "copies" / "one.json").exists()


CHILD = """
import os, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import signal, time; signal.signal(2, signal.SIG_IGN); time.sleep(9)"])
print("child", child.pid, flush=True)
"""


def test_processes_of_a_step_end_with_it(script, capfd):
    """They would slow the next step: of one that is interrupted, fails, or leaves them behind."""
    with pytest.raises(SystemExit):
        script("--device", "cpu", "--minutes", 0.4, first=(f"-c '{CHILD}child.wait()'", 0.3),
               second=(f"-c '{CHILD}os._exit(3)'", 0.9), third=(f"-c '{CHILD}child.returncode = 0'", 0.9))
    out = capfd.readouterr().out
    assert re.search(r"^first: interrupted.*\nsecond: failed with status 3.*\nthird: done", out, re.M)
    pids = re.findall(r"^child (\d+)$", out, re.M)
    assert len(pids) == 3
    end = time.monotonic() + 3                      # they were told to end, and need a moment; by themselves it were 9
    while any(is_running(pid) for pid in pids):
        assert time.monotonic() < end
        time.sleep(0.01)


def is_running(pid):
    """A process that has ended may be listed until its parent, or the system, has taken notice."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_the_steps_can_be_listed_and_not_run(script, capfd):
    script("--list")
    assert "--device cuda" in capfd.readouterr().out
    with pytest.raises(SystemExit) as stop:
        script("--minutes", 1)
    assert stop.value.code == 2
    assert "argument --device: must name a device of this machine, got cuda" in capfd.readouterr().err


def test_nothing_begins_when_the_time_is_over(script, capfd):
    script("--device", "cpu", "--minutes", 1e-6, first=("-c 'print(1)'", 0.5))
    assert capfd.readouterr().out == "first: no time left, 0 s\n"


def test_every_step_is_a_command_whose_options_are_known(script, capfd):
    script("--list")
    lines = capfd.readouterr().out.splitlines()
    assert len(lines) == 8
    for line in lines:
        name, options = re.search(r": python (?:examples/benchmarks/(\w+)\.py )?(.*)", line).groups()
        source = (BENCHMARKS / f"{name}.py").read_text() if name else ""
        assert name is None or all(f'"{option}"' in source for option in re.findall(r"--[a-z]+", options))

"""The script that runs what needs a GPU in a given time, tried with short commands on the CPU."""
import re
import sys

import pytest
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
        monkeypatch.setattr(sys, "argv", ["gpu.py", "--device", "cpu", *map(str, options)])
        gpu.main()

    return run


def test_a_step_that_fails_or_takes_too_long_ends_no_other(script, capfd, tmp_path):
    (tmp_path / "results" / "one.json").write_text("{}")
    with pytest.raises(SystemExit):
        script("--minutes", 0.2, "--copy-to", tmp_path / "copies",
               first=("-c 'raise SystemExit(3)'", 0.5), second=("-c 'import time; time.sleep(60)'", 0.1),
               third=("-c 'print(\"device {device}\")'", 0.5))
    out = capfd.readouterr().out
    assert re.search(r"^first: failed with status 3, \d s\nsecond: interrupted, \d s\nthird: done, \d s$", out, re.M)
    assert "device cpu" in out
    assert (tmp_path / "copies" / "one.json").exists()


def test_nothing_begins_when_the_time_is_over(script, capfd):
    script("--minutes", 1e-6, first=("-c 'print(1)'", 0.5))
    assert capfd.readouterr().out == "first: no time left, 0 s\n"


def test_every_step_is_a_command_whose_options_are_known(script, capfd):
    script("--list")
    lines = capfd.readouterr().out.splitlines()
    assert len(lines) == 8
    for line in lines:
        name, options = re.search(r": python (?:examples/benchmarks/(\w+)\.py )?(.*)", line).groups()
        source = (BENCHMARKS / f"{name}.py").read_text() if name else ""
        assert name is None or all(f'"{option}"' in source for option in re.findall(r"--[a-z]+", options))

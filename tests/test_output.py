"""Scripts never write over the results of another run unasked, and only to files."""
import argparse
import os
import runpy
import time
from pathlib import Path

import pytest
from scripts import EXAMPLES


@pytest.fixture
def output(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    return argparse.Namespace(**runpy.run_path(str(EXAMPLES / "_output.py")))


def place(output, *options, written=("a.csv", "b.png")):
    parser = argparse.ArgumentParser()
    output.add_output(parser, "output/x")
    return output.place_for(parser.parse_args(options), "output/x", written)


def test_the_next_run_writes_to_the_next_folder(output):
    begin = time.perf_counter()
    assert place(output) == Path("output/x")
    assert time.perf_counter() - begin < 1          # names are made up one by one
    for number in ("", "-2", "-3"):
        Path(f"output/x{number}").mkdir(parents=True)
        assert place(output) == Path(f"output/x{number}")       # which holds nothing yet
        Path(f"output/x{number}/b.png").touch()
    assert place(output) == Path("output/x-4")
    assert place(output, "--overwrite") == Path("output/x")


def test_a_named_folder_is_only_written_to_if_it_is_free_or_to_be_replaced(output):
    Path("mine").mkdir()
    Path("mine/other.txt").touch()
    assert place(output, "--output", "mine") == Path("mine")
    Path("mine/a.csv").touch()
    with pytest.raises(ValueError, match=r"^--output holds results of another run, mine/a.csv: give .*--overwrite"):
        place(output, "--output", "mine")
    assert place(output, "--output", "mine", "--overwrite") == Path("mine")


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_file_is_never_written_to(output, make):
    Path("mine").mkdir()
    make("mine/a.csv")
    for options in ([], ["--overwrite"]):
        with pytest.raises(ValueError, match=r"^--output must name a place to write to, but mine/a.csv is a folder, a"):
            place(output, "--output", "mine", *options)


def test_files_are_treated_as_folders_are(output):
    assert place(output, written=()) == Path("output/x")
    Path("output").mkdir()
    Path("output/x").touch()
    assert place(output, written=()) == Path("output/x-2")
    with pytest.raises(ValueError, match="--overwrite to replace"):
        place(output, "--output", "output/x", written=())

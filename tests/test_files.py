"""Files that are written whole or not at all."""
import contextlib
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from fmnist_sk._storage import files
from fmnist_sk._storage.files import leftovers, replacing, write_whole

NAMES = "model.pt", "mod[el]*.pt", "ä" * 120 + ".safetensors"


@pytest.mark.parametrize("name", NAMES)
def test_a_file_is_replaced_when_all_is_written(name, tmp_path):
    path = tmp_path / name
    for content in (b"old", b"new"):
        with replacing(path) as file:
            file.write(content)
            assert not path.exists() or path.read_bytes() == b"old"
        assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, OSError, KeyboardInterrupt])
def test_an_error_keeps_the_old_file_and_leaves_no_part(error, tmp_path):
    path = tmp_path / "model.pt"
    path.write_bytes(b"old")
    with contextlib.suppress(error), replacing(path) as file:
        file.write(b"half")
        raise error
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", NAMES)
def test_parts_that_killed_processes_left_are_removed_by_the_next_and_no_others(name, tmp_path):
    path = tmp_path / name
    code = f"""
import os, pathlib
from fmnist_sk._storage.files import replacing
with replacing(pathlib.Path({str(path)!r})) as file:
    file.write(b"half")
    file.flush()
    os._exit(1)
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == 1
    left, = tmp_path.iterdir()
    assert list(leftovers(path)) == [left]
    other = tmp_path / f".m.{'0' * 32}.part"                # of another file
    other.touch()
    with replacing(path) as first, replacing(path) as second:
        assert not left.exists()
        first.write(b"1")
        second.write(b"2")                      # two at once do each other no harm
        assert list(leftovers(path)) == []
    assert sorted(tmp_path.iterdir()) == sorted([other, path])


def test_modes_and_symbolic_links_stay(tmp_path):
    path, link = tmp_path / "model", tmp_path / "link"
    path.write_bytes(b"old")
    path.chmod(0o640)
    link.symlink_to(path)
    write_whole(link, b"new")
    assert link.is_symlink()
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_what_is_no_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/dev/null")
    for path in (tmp_path / "pipe", Path("/dev/null"), tmp_path / "link"):
        with pytest.raises(ValueError, match=r"path must name a file, but .* is a folder, a pipe or a device"):
            write_whole(path, b"new")
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


def test_a_part_that_another_process_removes_at_once_is_begun_anew(tmp_path, monkeypatch):
    """Between its opening and its lock it looks like one that was left."""
    removed = []

    def hold(file):
        if not removed:
            removed.append(Path(file.name))
            removed[0].unlink()
        return files.hold_(file)

    monkeypatch.setattr(files, "hold_", files.hold, raising=False)
    monkeypatch.setattr(files, "hold", hold)
    write_whole(tmp_path / "model", b"new")
    assert removed
    assert (tmp_path / "model").read_bytes() == b"new"


def test_processes_that_write_one_file_at_once_do_not_disturb_each_other(tmp_path):
    code = f"""
from pathlib import Path
from fmnist_sk._storage.files import write_whole
for i in range(400):
    write_whole(Path({str(tmp_path / "model")!r}), b"new")
"""
    processes = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(3)]
    assert [process.wait() for process in processes] == [0, 0, 0]
    assert os.listdir(tmp_path) == ["model"]


def test_without_locks_a_part_is_closed_before_it_is_moved_and_no_part_is_touched(tmp_path, monkeypatch):
    """As on Windows, which moves no open files: no other process may take a closed part for one that was left."""
    monkeypatch.setitem(sys.modules, "fcntl", None)
    path, other, replace, opened = tmp_path / "model", tmp_path / f".model.{'0' * 32}.part", os.replace, []
    other.write_bytes(b"half")

    def replace_closed(part, target):
        assert opened[0].closed
        replace(part, target)

    monkeypatch.setattr(os, "replace", replace_closed)
    with replacing(path) as file:
        opened.append(file)
        file.write(b"new")
    assert path.read_bytes() == b"new"
    assert sorted(tmp_path.iterdir()) == sorted([other, path])


def test_pipes_and_others_named_like_a_part_are_left_alone(tmp_path):
    for name in ("0" * 32, "g" * 32):
        os.mkfifo(tmp_path / f".model.{name}.part")
    (tmp_path / f".model.{'x' * 32}.part").write_bytes(b"mine")
    write_whole(tmp_path / "model", b"new")
    assert len(os.listdir(tmp_path)) == 4


def test_links_in_a_circle_are_refused(tmp_path):
    (tmp_path / "model").symlink_to(tmp_path / "model")
    with pytest.raises(ValueError, match=r"path must lead to a file, but .* is a circular link"):
        write_whole(tmp_path / "model", b"new")

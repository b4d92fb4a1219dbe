"""Files that are written whole or not at all."""
import contextlib
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

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

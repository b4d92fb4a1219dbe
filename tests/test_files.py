"""Files that are written whole or not at all."""
import contextlib

import pytest

from fmnist_sk._storage.files import leftovers, replacing

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
def test_leftovers_are_the_parts_of_this_file_alone(name, tmp_path):
    path = tmp_path / name
    other = f".m.{'0' * 32}.part"
    (tmp_path / other).touch()
    with replacing(path), replacing(tmp_path / f"x{name}"), replacing(tmp_path / "m"):
        found = list(leftovers(path))
        assert len(list(tmp_path.iterdir())) == 4
    assert len(found) == 1
    assert other not in {part.name for part in found}

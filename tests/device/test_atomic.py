"""Writes that fail leave what was there."""

import errno
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edgerkd.core.errors import StorageError
from edgerkd.files.atomic import folder_atomic, sha256_of, write_atomic


@contextmanager
def full_disk() -> Iterator[None]:
    """The kernel refuses files of more than 1 KiB: a write breaks off in the middle, as on a full disk.

    No fixture: pytest's own output, where it goes to a file, would meet the limit as well.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_write_that_breaks_off_leaves_the_old_file_and_no_litter(tmp_path):
    """Catches writing in place, and temporary files that pile up."""
    path = tmp_path / "result.json"
    write_atomic(path, "old")
    with pytest.raises(StorageError, match=r"result\.json: cannot be written.*intact") as error, full_disk():
        write_atomic(path, "x" * 5000)
    assert error.value.exit_code == 4
    assert error.value.__cause__.errno == errno.EFBIG
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["result.json"]


def _fill(target: Path, contents: dict[str, str], *, interrupted: bool = False) -> None:
    with folder_atomic(target) as new:
        for name, content in contents.items():
            write_atomic(new / name, content)
        if interrupted:
            raise KeyboardInterrupt


def test_a_folder_that_cannot_be_finished_leaves_the_old_one(tmp_path):
    """Catches half a bundle."""
    target = tmp_path / "bundle"
    _fill(target, {"a": "old"})
    with pytest.raises(StorageError, match="b: cannot be written"), full_disk():
        _fill(target, {"a": "new", "b": "x" * 5000})
    assert [p.name for p in target.iterdir()] == ["a"]
    assert (target / "a").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["bundle"]


def test_an_interrupt_while_a_folder_is_filled_leaves_the_old_one(tmp_path):
    """Catches cleaning up on Exception only, which an interrupt is not."""
    target = tmp_path / "bundle"
    _fill(target, {"a": "old"})
    with pytest.raises(KeyboardInterrupt):
        _fill(target, {"a": "new"}, interrupted=True)
    assert (target / "a").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["bundle"]


def test_an_interrupt_within_the_swap_puts_the_old_folder_back(tmp_path, monkeypatch):
    """Catches a folder that is gone when the interrupt comes between the two renames."""
    from pathlib import Path

    target = tmp_path / "bundle"
    with folder_atomic(target) as new:
        write_atomic(new / "a", "old")
    replace = Path.replace

    def interrupted(self, other):
        if Path(other) == target and self.parent == tmp_path:
            raise KeyboardInterrupt
        return replace(self, other)

    context = folder_atomic(target)
    new = context.__enter__()
    write_atomic(new / "a", "new")
    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        context.__exit__(None, None, None)
    assert (target / "a").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["bundle"]


def test_a_complete_folder_replaces_the_old_one(tmp_path):
    """Catches files of the old folder that stay behind."""
    target = tmp_path / "bundle"
    for name in ("a", "b"):
        with folder_atomic(target) as new:
            write_atomic(new / name, name)
    assert [p.name for p in target.iterdir()] == ["b"]


def test_sha256_is_the_standards(tmp_path):
    """Catches a digest of a part, or of the name. Source: FIPS 180-2, appendix B.1."""
    path = tmp_path / "x"
    path.write_bytes(b"abc")
    assert sha256_of(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

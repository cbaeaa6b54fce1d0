"""Writes that fail leave what was there."""

import errno
import fcntl
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Barrier

import pytest

from edgerkd.core.errors import StorageError
from edgerkd.files.atomic import (
    check_writable,
    claimed_folder,
    folder_atomic,
    locked,
    recover,
    scratch_folder,
    sha256_of,
    sweep,
    write_atomic,
)


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


WRITER = """
import os, signal, sys
from pathlib import Path
from threading import Barrier
import edgerkd.files.atomic as atomic

step, at, one_step = 0, int(sys.argv[2]), sys.argv[3] == "exchange"

def deadly(work):
    def call(*given, **named):
        global step
        step += 1
        if step == at:
            os.kill(os.getpid(), signal.SIGKILL)
        return work(*given, **named)
    return call

if not one_step:
    atomic._renameat2 = lambda a, b: False
places = (Path, "replace"), (Path, "chmod"), (atomic.shutil, "rmtree"), (os, "fsync"), (atomic, "_renameat2")
for owner, name in places:
    setattr(owner, name, deadly(getattr(owner, name)))
with atomic.folder_atomic(Path(sys.argv[1])) as new:
    for name in "ab":
        atomic.write_atomic(new / name, "new")
print(step)
"""


def _steps(target: Path, at: int, how: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", WRITER, str(target), str(at), how]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("how", ["exchange", "renames"])
def test_a_kill_at_any_step_leaves_the_old_folder_or_the_new_one_and_the_next_write_sweeps(tmp_path, how):
    """Catches the moment between two renames, in which there is neither, and litter that nobody removes."""
    target = tmp_path / "bundle"
    _fill(target, {"a": "old", "b": "old"})
    many = int(_steps(target, 0, how).stdout)
    assert many > 8
    for at in range(1, many + 1):
        _fill(target, {"a": "old", "b": "old"})
        assert _steps(target, at, how).returncode == -signal.SIGKILL
        recover(target)
        assert [(target / name).read_text() for name in "ab"] in (["old"] * 2, ["new"] * 2)
        _fill(target, {"a": "old", "b": "old"})
        assert [p.name for p in tmp_path.iterdir()] == ["bundle"], at


def test_what_a_living_writer_has_begun_is_left_alone(tmp_path):
    """Catches two writers of one place who remove each other's work."""
    target = tmp_path / "bundle"
    with folder_atomic(target) as slow:
        write_atomic(slow / "a", "slow")
        _fill(target, {"a": "quick"})
        assert (slow / "a").read_text() == "slow"
    assert (target / "a").read_text() == "slow"


def test_a_writer_whose_lock_came_too_late_begins_again(tmp_path, monkeypatch):
    """Catches a sweep that removes what another has just made, and an empty file that is left for its youth."""
    lock, swept = fcntl.flock, [0]

    def late(handle, how):
        if how == fcntl.LOCK_SH and swept[0] < 2:
            swept[0] += 1
            sweep(tmp_path / "x")
        lock(handle, how)

    monkeypatch.setattr(fcntl, "flock", late)
    write_atomic(tmp_path / "x", "new")
    assert (swept, (tmp_path / "x").read_text()) == ([2], "new")
    swept[0] = 0
    (tmp_path / "x").unlink()
    _fill(tmp_path / "x", {"a": "new"})
    assert (swept, (tmp_path / "x" / "a").read_text()) == ([2], "new")
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_a_killed_processs_scratch_folder_goes_with_the_next(tmp_path, monkeypatch):
    """Catches graphs that pile up among the temporary files, and those of a living process removed."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / ".edgerkd-killed.edgerkd.part").mkdir()
    (tmp_path / ".edgerkd-killed.edgerkd.part" / "model.onnx").touch()
    with scratch_folder() as first, scratch_folder() as second:
        assert sorted(tmp_path.iterdir()) == sorted([first, second])
        assert list(second.iterdir()) == []
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(tempfile, "tempdir", "/proc")
    with pytest.raises(StorageError), scratch_folder():
        pass


def test_what_a_killed_check_has_left_is_swept_by_the_next(tmp_path):
    """Catches an empty file beside a place that is asked about and never written."""
    (tmp_path / ".bundle.json-killed.edgerkd.part").touch()
    check_writable(tmp_path / "bundle.json")
    assert list(tmp_path.iterdir()) == []


def test_a_killed_files_rest_is_swept_and_names_are_no_patterns(tmp_path):
    """Catches a sweep that takes `*` in a name for anything."""
    other = tmp_path / ".kept-x.edgerkd.part"
    mine = tmp_path / ".*-x.edgerkd.part"
    for path in (other, mine):
        path.write_text("rest")
    write_atomic(tmp_path / "*", "new")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["*", ".kept-x.edgerkd.part"]


def test_of_many_who_claim_a_folder_one_has_it(tmp_path):
    """Catches two runs in one folder: made at the same moment, or given to both empty; and a claim that outlives it."""
    (tmp_path / "empty").mkdir()
    for name in ("new", "empty", "new"):
        barrier = Barrier(8)

        def work(number: int, path=tmp_path / name, barrier=barrier) -> bool:
            with claimed_folder(path) as ours:
                barrier.wait()
                return ours

        with ThreadPoolExecutor(8) as pool:
            assert sum(pool.map(work, range(8))) == 1
        assert not (tmp_path / name).exists()  # nothing was written


def test_a_folder_that_holds_something_is_not_claimed(tmp_path):
    """Catches a run among somebody's files, and files of theirs that are gone afterwards."""
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    with claimed_folder(tmp_path / "full") as ours:
        assert not ours
    assert [p.name for p in (tmp_path / "full").iterdir()] == ["x"]
    with claimed_folder(tmp_path / "kept") as ours:
        assert ours
        (tmp_path / "kept" / "run.json").touch()
    assert [p.name for p in (tmp_path / "kept").iterdir()] == ["run.json"]
    (tmp_path / "file").touch()
    with pytest.raises(StorageError), claimed_folder(tmp_path / "file"):
        pass


def test_a_lock_is_had_by_one_at_a_time(tmp_path):
    """Catches two trainings of one teacher."""
    inside: list[int] = []
    waited: list[int] = []

    def work(number: int) -> None:
        with locked(tmp_path / "x.lock", lambda: waited.append(number)):
            inside.append(number)
            assert len(inside) == 1
            inside.remove(number)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(40)))
    waited.clear()
    with ThreadPoolExecutor(1) as pool:
        with locked(tmp_path / "x.lock"):
            job = pool.submit(work, 7)
            while not waited:
                assert not job.done()
        job.result()
    assert waited == [7]


@pytest.mark.parametrize("kind", ["folder", "below a file", "read-only", "too long"])
def test_what_cannot_be_written_is_said_before_the_work(tmp_path, kind):
    """Catches hours of work whose result has no place."""
    (tmp_path / "file").touch()
    (tmp_path / "there").mkdir()
    target = {
        "folder": tmp_path / "there",
        "below a file": tmp_path / "file" / "x",
        "read-only": Path("/proc/x"),
        "too long": tmp_path / ("x" * 300),
    }[kind]
    with pytest.raises(StorageError, match="cannot be written"):
        check_writable(target)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "there"]


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

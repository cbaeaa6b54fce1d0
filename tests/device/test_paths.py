"""Paths that a person gave, and .npz files: one clear error with the path, whatever lies there."""

import errno
import io
import os
import re
import socket
import struct
import sys
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from edgerkd.bundle.read import read_bundle
from edgerkd.bundle.samples import read_reference, read_samples
from edgerkd.core.errors import ArtefactError, ConfigError, EdgerkdError, StorageError
from edgerkd.core.profile import Profile
from edgerkd.files.arrays import read_arrays
from edgerkd.files.atomic import sha256_of
from edgerkd.files.damage import DAMAGE
from edgerkd.files.decode import decode_json, decode_toml
from edgerkd.files.paths import check_folder, given_path, own_folder, read_file
from edgerkd.files.profiles import load_profile

AS_ROOT = os.geteuid() == 0


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as end:
        end.bind(str(path))


def _circle(path: Path) -> None:
    path.symlink_to(path.with_name("back"))
    path.with_name("back").symlink_to(path)


def _closed(path: Path) -> None:
    path.write_text("secret")
    path.chmod(0)


def _denied(path: Path, *flags: object) -> int:
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))


MADE = {
    "nothing": (lambda path: None, "there is no such file"),
    "a folder": (Path.mkdir, "this is a folder"),
    "a named pipe": (os.mkfifo, "this is a named pipe"),
    "a socket": (_socket, "socket"),
    "a circle of links": (_circle, "its links lead in a circle"),
    "a link to nothing": (lambda path: path.symlink_to("gone"), "there is no such file"),
    "a link to a device": (lambda path: path.symlink_to("/dev/zero"), "this is a device"),
    "a file of another": (_closed, "may not be read here"),
}
"""What may lie at a path in place of a file, and what is said of it."""

READERS = {
    "bytes": read_file,
    "digest": sha256_of,
    "json": lambda path: decode_json(Profile, path),
    "toml": lambda path: decode_toml(Profile, path),
    "profile": lambda path: load_profile(f"{path}"),
    "arrays": lambda path: read_arrays(path, ["x"], limit=100),
    "samples": read_samples,
    "reference": read_reference,
}
"""Everything on a device that opens a file which a person or a bundle names."""


@pytest.mark.parametrize("reader", READERS.values(), ids=READERS)
@pytest.mark.parametrize(("make", "said"), MADE.values(), ids=MADE)
def test_what_is_no_readable_file_is_refused_with_its_path(make, said, reader, tmp_path, monkeypatch):
    """Catches a traceback, a read that waits for ever at a pipe, and one that never ends at /dev/zero."""
    path = tmp_path / "given.toml"
    make(path)
    if make is _closed and AS_ROOT:  # who may read everything
        monkeypatch.setattr(os, "open", _denied)
    with pytest.raises(EdgerkdError, match=r"given\.toml") as caught:
        reader(path)
    assert said in str(caught.value)
    assert caught.value.exit_code in (3, 4, 5)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("x" * 300, "too long"),
        ("x/" * 3000, "too long"),
        ("file/below", "a part of the path is a file"),
        ("a\x00b", "not text"),
        ("a\x1b[2Jb", "not text"),
        (os.fsdecode(b"a\xffb"), "not text"),
        ("", "is empty"),
        ("  ", "is empty"),
        ("~nobody-has-this-name/x", "no such user"),
    ],
    ids=lambda text: ascii(text)[:20],
)
def test_a_path_that_is_none_is_refused(path, said, workdir):
    """Catches ENAMETOOLONG and surrogates that end as a bug, and an escape sequence that is printed back."""
    (workdir / "file").touch()
    with pytest.raises((ConfigError, StorageError), match=said) as caught:
        read_file(given_path(path))
    assert "\x1b" not in str(caught.value)
    assert len(str(caught.value)) < 1500


@pytest.mark.parametrize(("value", "found"), [(None, "~/mine"), ("", "~/mine"), ("/x/y", "/x/y"), ("~/z", "~/z")])
def test_a_variable_names_a_folder_or_the_default_is_taken(value, found, monkeypatch):
    """Catches a variable that is set to nothing, and a folder in the working folder for it."""
    if value is None:
        monkeypatch.delenv("EDGERKD_CACHE", raising=False)
    else:
        monkeypatch.setenv("EDGERKD_CACHE", value)
    assert own_folder("EDGERKD_CACHE", "~/mine") == Path(found).expanduser()
    monkeypatch.setenv("EDGERKD_CACHE", "~nobody-of-this-name/x")
    with pytest.raises(ConfigError, match=r"EDGERKD_CACHE: .*there is no such user here"):
        own_folder("EDGERKD_CACHE", "~/mine")


def test_folders_are_held_to_the_same(tmp_path):
    """Catches a file taken for a folder, and a bundle that is none."""
    (tmp_path / "file").touch()
    for name, said in (("file", "this is a file"), ("gone", "there is no such folder")):
        with pytest.raises(ConfigError, match=said):
            check_folder(tmp_path / name)
    for name, error in (("file", ArtefactError), ("gone", ConfigError), (".", ArtefactError)):
        with pytest.raises(error):
            read_bundle(tmp_path / name)


def npz(**arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


GOOD = npz(x=np.arange(10, dtype=np.float32), y=np.ones((2, 3), np.uint8))


def member(
    header: bytes, body: bytes = b"\0" * 40, *, version: bytes = b"\x01\x00", length: int | None = None
) -> bytes:
    """An .npz file whose array x has this header."""
    buffer = io.BytesIO()
    size = struct.pack("<H" if version[0] == 1 else "<I", len(header) if length is None else length)
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("x.npy", b"\x93NUMPY" + version + size + header + body)
    return buffer.getvalue()


def dictionary(shape: str = "(10,)", descr: str = "'<f4'", order: str = "False") -> bytes:
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}}}\n".encode()


def packed(method: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr("x.npy", b"\x93NUMPY\x01\x00" + b"\xff" * 200)
    return buffer.getvalue()


def lying(claim: int) -> bytes:
    """An archive whose directory says another size than there is."""
    data = bytearray(member(dictionary()))
    at = data.rfind(b"PK\x01\x02")
    data[at + 24 : at + 28] = struct.pack("<I", claim)
    return bytes(data)


BROKEN = {
    "empty": b"",
    "text": b"this is no archive",
    "a pickle": b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00\x8c\x07builtins\x94.",
    "cut short": GOOD[:-30],
    "its middle overwritten": GOOD[:60] + b"\xff" * 20 + GOOD[80:],
    "a wrong checksum": member(dictionary()).replace(b"\0" * 40, b"\0" * 39 + b"\x01"),
    "lzma": packed(zipfile.ZIP_LZMA),
    "lzma damaged": packed(zipfile.ZIP_LZMA)[:60] + b"\xff" * 9 + packed(zipfile.ZIP_LZMA)[69:],
    "bzip2": packed(zipfile.ZIP_BZIP2),
    "an unknown compression": member(dictionary()).replace(b"PK\x01\x02\x14\x03\x14\x00\x00\x00\x00\x00",
                                                           b"PK\x01\x02\x14\x03\x14\x00\x00\x00\x61\x00"),
    "no magic": member(b"").replace(b"\x93NUMPY", b"\x93NUMPX"),
    "an unknown version": member(dictionary(), version=b"\x09\x00"),
    "a header cut short": member(dictionary(), length=4000),
    "a header of gigabytes": member(dictionary(), version=b"\x02\x00", length=2**31),
    "an unfinished literal": member(b"{'descr': '<f4', 'shape': ("),
    "a header that is code": member(b"__import__('os').system('touch executed')\n"),
    "a header that is a set": member(b"{1, 2}\n"),
    "nested too deep": member(b"[" * 5000 + b"\n"),
    "an unbalanced string": member(b"{'descr': '<f4\n"),
    "a null in the header": member(b"{'descr': '<f4'\x00}\n"),
    "no such type": member(dictionary(descr="'<q9'")),
    "a type of many bytes": member(dictionary(descr="'V999999999999999999999'")),
    "objects": npz(x=np.array([1])).replace(b"x.npy", b"x.npy") and member(dictionary(descr="'|O'")),
    "a negative side": member(dictionary(shape="(-10,)")),
    "a side of 400 digits": member(dictionary(shape=f"({'9' * 400},)")),
    "a side of 5000 digits": member(dictionary(shape=f"({'9' * 5000},)")),
    "sides of no memory": member(dictionary(shape="(4000000000, 4000000000)")),
    "a side that is a float": member(dictionary(shape="(1e1,)")),
    "more than it has": member(dictionary(shape="(11,)")),
    "less than it has": member(dictionary(shape="(9,)")),
    "a size that lies": lying(2**31),
    "a size too small": lying(20),
}  # fmt: skip
"""Kinds of damage to an .npz file, each found by looking for what a reader raises."""


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_a_damaged_archive_is_one_clear_error(content, workdir):
    """Catches an exception that the list of damage lacks, memory asked for unseen, and code that is run."""
    path = workdir / "x.npz"
    path.write_bytes(content)
    with pytest.raises(ArtefactError, match=r"x\.npz") as caught:
        read_arrays(path, ["x"], limit=1 << 20)
    said = str(caught.value)
    assert len(said) < 600
    assert "allow_pickle" not in said
    assert "unsafe" not in said.lower()
    assert not (workdir / "executed").exists()


def test_a_bomb_is_refused_by_its_size_before_it_is_unpacked(tmp_path):
    """Catches gigabytes of zeros packed in a kilobyte."""
    path = tmp_path / "bomb.npz"
    path.write_bytes(npz(x=np.zeros(5 << 20, np.uint8)))
    assert path.stat().st_size < 10_000
    with pytest.raises(ArtefactError, match="5 MiB large, and at most 1 MiB are expected"):
        read_arrays(path, ["x"], limit=1 << 20)


def test_what_is_whole_is_read_as_numpy_reads_it(tmp_path):
    """Catches a check that refuses everything, and an order or type that changes on the way."""
    arrays = {
        "floats": np.linspace(0, 1, 7, dtype=np.float32).reshape(7, 1),
        "columns": np.asfortranarray(np.arange(12, dtype=">i4").reshape(3, 4)),
        "truths": np.array([True, False]),
        "none": np.zeros((0, 3), np.int64),
        "one": np.array(5, np.uint8),
        "words": np.array(["a", "bcd"]),
    }
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "x.npz", **arrays)
        found = read_arrays(tmp_path / "x.npz", tuple(arrays), limit=1000)
        for name, array in arrays.items():
            assert (found[name].shape, found[name].dtype) == (array.shape, array.dtype)  # NumPy 1.23 has no strict=
            assert_array_equal(found[name], array)
    with pytest.raises(ArtefactError, match="there is no array named gone: it has floats, columns"):
        read_arrays(tmp_path / "x.npz", ["gone"], limit=1000)


@pytest.mark.parametrize(
    "e",
    [
        *(OverflowError(), MemoryError(), TypeError(), RecursionError(), EOFError(), SyntaxError(), IndexError()),
        *(KeyError(), UnicodeDecodeError("utf-8", b"", 0, 1, ""), struct.error(), zlib.error(), NotImplementedError()),
        *(zipfile.BadZipFile(), OSError(), ValueError(), AttributeError(), RuntimeError(), ZeroDivisionError()),
    ],
    ids=lambda e: type(e).__name__,
)
def test_the_list_of_damage_holds_what_readers_were_seen_to_raise(e):
    """Catches a kind that is taken off the list; what no damaged file raises must not be on it."""
    assert isinstance(e, DAMAGE)
    assert not issubclass(KeyboardInterrupt, DAMAGE)
    assert not issubclass(ImportError, DAMAGE)


def test_no_reader_in_the_package_opens_files_by_itself():
    """Catches a new reader that goes round the door: each must use edgerkd/files, or say why not."""
    root = Path(sys.modules["edgerkd"].__file__ or "").parent
    allowed = {
        "report/document.py": "its own style sheet",
        "cli/main.py": "the null device",
        "verify/doctor.py": "files of the system",
        "models/hardware.py": "files of the system",
    }
    calls = (".read_text(", ".read_bytes(", ".open(", "np.load(", "open(")
    found: list[str] = []
    for path in sorted(root.rglob("*.py")):
        name = str(path.relative_to(root))
        if name.startswith("files/") or name in allowed:
            continue
        for number, line in enumerate(path.read_text().splitlines(), start=1):
            code = line.split("#")[0].replace("pillow.open(", "").replace("_pillow().open(", "")
            code = re.sub(
                r"\b(backend|process|load_backend\([^()]*\))\.open\(", "", code
            )  # engines; backends use the door
            opens = [
                call
                for call in calls
                if call in code.replace("os.open(", "").replace("subprocess.Popen(", "").replace("archive.open(", "")
            ]
            if opens and "_open(" not in code and "def " not in code:
                found.append(f"{name}:{number}: {line.strip()}")
    assert found == []

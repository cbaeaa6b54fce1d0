"""docs/guide: its commands and examples run, in order and as they stand there."""

import io
import re
import runpy
import shlex
import shutil
import signal
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from edgerkd.cli import main
from tests.command_lines import parse
from tests.guide import GUIDE, PAGES, Block, blocks_of

RUN = {"python", "sh"}
NAMED = {
    "verify-your-own-model.md",
    "distill-for-your-data.md",
    "read-a-verdict.md",
    "use-the-engine.md",
    "install-on-jetpack.md",
    "add-your-own.md",
    "python-api.md",
    "frauds.md",
}
ELSEWHERE = "add-your-own.md"
"""Its files go into a copy of the package: test_adding.py runs them."""


def _shell(line: str, folder: Path) -> None:
    """Run one command as a reader would, in this process: importing torch anew takes longer than all else."""
    program, *arguments = shlex.split(line)
    expanded = [match for word in arguments for match in _expanded(word, folder)]
    assert program in ("edgerkd", "python"), f"{line}: not a command that runs here: mark the block"
    out = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(out):
        patch.chdir(folder)
        patch.syspath_prepend(str(folder))
        patch.setattr(signal, "signal", lambda *_: None)
        patch.setattr(sys, "argv", [program, *expanded] if program == "edgerkd" else expanded)
        code = _code(program, expanded)
        sys.modules.pop("example", None)
    assert not code, f"{line}\n{out.getvalue()}"


def _code(program: str, arguments: list[str]) -> object:
    """What a program that is called from here ends with."""
    try:
        main.main() if program == "edgerkd" else runpy.run_path(arguments[0], run_name="__main__")
    except SystemExit as e:
        return e.code
    return 0


def _expanded(word: str, folder: Path) -> list[str]:
    """What a shell makes of a word with an asterisk."""
    found = sorted(str(path.relative_to(folder)) for path in folder.glob(word)) if "*" in word else [word]
    assert found, f"{word}: nothing matches"
    return found


def _follow(blocks: list[Block], folder: Path) -> None:
    """All blocks of a page, the Python ones in one namespace."""
    names: dict[str, object] = {}
    for block in blocks:
        if block.file is not None:
            (folder / block.file).write_text(block.text)
        elif block.skipped is not None or block.kind not in RUN:
            continue
        elif block.kind == "sh":
            for line in block.lines:
                _shell(line, folder)
        else:
            exec(compile(block.text, "example", "exec"), names)
    sys.modules.pop("example", None)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the guide's first page makes: the files that the others use."""
    folder = tmp_path_factory.mktemp("files")
    _follow([block for block in blocks_of("README.md") if "pip" not in block.text], folder)
    assert {path.name for path in folder.iterdir()} >= {"example.py", "mine.onnx", "mine.safetensors", "data.npz"}
    return folder


SLOW = {
    "distill-for-your-data.md",
    "python-api.md",
    "read-a-verdict.md",
    "use-the-engine.md",
    "verify-your-own-model.md",
}


@pytest.mark.parametrize(
    "page",
    [pytest.param(page, marks=[pytest.mark.slow] if page in SLOW else []) for page in sorted(NAMED - {ELSEWHERE})],
)
def test_a_page_works_word_for_word(
    page: str, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Catches an example that was right once: a renamed flag, function, field or file, or another order of steps."""
    folder = tmp_path / "reader"
    shutil.copytree(files, folder, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    _follow(blocks_of(page), folder)
    assert "nan" not in capsys.readouterr().out


def _command_lines(page: str) -> list[str]:
    """Every edgerkd command of a page: in blocks that run or not, and between backticks where it is a whole one."""
    lines = [
        part for block in blocks_of(page) if block.kind == "sh" for line in block.lines for part in line.split("&&")
    ]
    text = re.sub(r"^```.*?^```", "", (GUIDE / page).read_text(), flags=re.MULTILINE | re.DOTALL)
    spans = [re.sub(r"\s+", " ", span) for span in re.findall(r"`(edgerkd [^`]+)`", text) if "--help" not in span]
    return list(dict.fromkeys(line.strip() for line in (*lines, *spans) if line.strip().startswith("edgerkd ")))


@pytest.mark.parametrize(("page", "line"), [(page, line) for page in PAGES for line in _command_lines(page)])
def test_every_command_line_parses(page: str, line: str) -> None:
    """Catches a renamed command or flag in a block that does not run here."""
    parse(line.removeprefix("edgerkd "))


def test_every_flag_that_is_named_exists() -> None:
    """Catches a flag in the prose that no command has."""
    from tests.command_lines import all_flags

    known = all_flags()
    theirs = {"--system-site-packages", "--no-deps", "--require-hashes", "--onnx", "--saveEngine"}
    for page in PAGES:
        text = re.sub(r"^```.*?^```", "", (GUIDE / page).read_text(), flags=re.MULTILINE | re.DOTALL)
        named = set(re.findall(r"`(--[a-z][a-z0-9-]+)", text)) | set(
            re.findall(r"`edgerkd[^`]* (--[a-z][a-z0-9-]+)", text)
        )
        pip = {flag for flag in named if flag in ("--python-version", "--abi")}
        assert named - pip - theirs <= known, page


def test_the_eight_pages_are_there_and_the_index_names_them() -> None:
    """Catches a page that nobody finds."""
    index = (GUIDE / "README.md").read_text()
    assert set(PAGES) == NAMED | {"README.md"}
    assert all(f"]({page})" in index for page in NAMED)


@pytest.mark.parametrize("page", PAGES)
def test_every_relative_link_exists(page: str) -> None:
    """Catches a page or a heading that moved."""
    for target in re.findall(r"\]\(([^)]+)\)", (GUIDE / page).read_text()):
        path, _, heading = target.partition("#")
        found = (GUIDE / path) if path else GUIDE / page
        assert found.exists(), target
        titles = [re.sub(r"[^\w -]", "", line.lstrip("# ").lower()) for line in found.read_text().splitlines()]
        assert not heading or heading in [title.replace(" ", "-") for title in titles], target


def test_most_blocks_run() -> None:
    """Catches a guide whose blocks are all marked, or not found."""
    blocks = [block for page in NAMED for block in blocks_of(page) if block.kind in RUN]
    assert sum(block.skipped is None for block in blocks) > len(blocks) / 2


def test_a_renamed_field_or_flag_would_be_noticed(tmp_path: Path) -> None:
    """Catches a harness that runs nothing."""
    with pytest.raises(AttributeError):
        _follow([Block("python", "import edgerkd\nedgerkd.attacks_all", None, None)], tmp_path)
    with pytest.raises(AssertionError, match=r"(?i)no such option"):
        _follow([Block("sh", "edgerkd profiles --jsn", None, None)], tmp_path)
    with pytest.raises(AssertionError, match="mark the block"):
        _follow([Block("sh", "pip install x", None, None)], tmp_path)

"""What all tests share: which of them run, and a home of their own.

Slow tests and those for a GPU are skipped unless asked for by --run-slow and --run-gpu. With --run-gpu the run
fails where no GPU test ran: a skipped test would look like a passed one. tests/peers needs --run-peers and an
environment of its own (`make test-peers`).
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from tests.command import Ended

# Networks as small as the tests' are no faster on two threads, and processes that run beside each other are slower.
os.environ.setdefault("OMP_NUM_THREADS", "1")

settings.register_profile("edgerkd", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("edgerkd")

GPU_TESTS_RUN = pytest.StashKey[int]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--run-slow", action="store_true", help="run the tests marked slow as well")
    parser.addoption("--run-gpu", action="store_true", help="run the tests marked gpu as well; fail where none can")
    parser.addoption(
        "--run-peers", action="store_true", help="run tests/peers, in the environment of `make test-peers`"
    )
    parser.addoption("--device-packages", help="the site-packages that the device of tests/packaging has, if not ours")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """tests/peers imports what .venv does not have."""
    return True if collection_path.name == "peers" and not config.getoption("--run-peers") else None


def pytest_configure(config: pytest.Config) -> None:
    config.stash[GPU_TESTS_RUN] = 0


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    skips: dict[str, str] = {}
    if not config.getoption("--run-slow"):
        skips["slow"] = "slow: needs --run-slow"
    if not config.getoption("--run-gpu"):
        skips["gpu"] = "for a GPU: needs --run-gpu"
    elif not _has_gpu():
        skips["gpu"] = "torch sees no GPU"
    for item in items:
        for marker, reason in skips.items():
            if item.get_closest_marker(marker):
                item.add_marker(pytest.mark.skip(reason=reason))


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report = yield
    if call.when == "call" and not report.skipped and item.get_closest_marker("gpu"):
        item.config.stash[GPU_TESTS_RUN] += 1
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    config = session.config
    if config.getoption("--run-gpu") and not config.stash[GPU_TESTS_RUN] and not config.option.collectonly:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if config.getoption("--run-gpu"):
        terminalreporter.write_line(f"GPU tests run: {config.stash[GPU_TESTS_RUN]} (none is a failure)")


@pytest.fixture(scope="session", autouse=True)
def _own_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing of the person who runs the tests is read or written; the cache is one for the session, empty at first."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(home))
        patch.setenv("EDGERKD_CACHE", str(home / "cache"))
        for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "EDGERKD_PROFILE_PATH", "EDGERKD_CONFIG"):
            patch.delenv(name, raising=False)
        for name, value in (("COLUMNS", "80"), ("NO_COLOR", "1"), ("TERM", "dumb")):
            patch.setenv(name, value)
        yield


@pytest.fixture
def workdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, and the current one for this test."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def edgerkd(capsys: pytest.CaptureFixture[str]) -> Callable[..., "Ended"]:
    """One command in this process, through the real `main`."""
    from tests.command import in_process

    return lambda *arguments: in_process(arguments, capsys)


@pytest.fixture
def rng() -> np.random.Generator:
    """Random numbers that are the same in every run."""
    return np.random.default_rng(0)

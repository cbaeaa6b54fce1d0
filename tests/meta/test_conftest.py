"""Slow and GPU tests: skipped unless asked for, and a GPU run in which nothing ran is a failure."""

from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

TESTS = """
import pytest

def test_quick():
    pass

@pytest.mark.slow
def test_slow():
    pass

@pytest.mark.gpu
def test_gpu():
    pass
"""


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makeini("[pytest]\nmarkers =\n    slow\n    gpu\n")
    pytester.makepyfile(TESTS)
    return pytester


def _conftest(gpu: bool) -> str:
    own = (Path(__file__).parents[1] / "conftest.py").read_text()
    return f"{own}\n\ndef _has_gpu():\n    return {gpu}\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "gpu", "passed", "skipped", "status"),
    [
        ((), True, 1, 2, pytest.ExitCode.OK),
        (("--run-slow",), True, 2, 1, pytest.ExitCode.OK),
        (("--run-gpu", "-m", "gpu"), True, 1, 0, pytest.ExitCode.OK),
        (("--run-gpu", "-m", "gpu"), False, 0, 1, pytest.ExitCode.TESTS_FAILED),
        (("--run-gpu", "-k", "quick"), True, 1, 0, pytest.ExitCode.TESTS_FAILED),
    ],
)
def test_which_tests_run(
    project: pytest.Pytester, options: tuple[str, ...], gpu: bool, passed: int, skipped: int, status: int
) -> None:
    project.makeconftest(_conftest(gpu))
    result = project.runpytest_subprocess("-p", "no:cacheprovider", *options)
    result.assert_outcomes(passed=passed, skipped=skipped, deselected=3 - passed - skipped)
    assert result.ret == status

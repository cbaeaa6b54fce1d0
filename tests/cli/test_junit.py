"""`edgerkd verify --junit`: what a CI system reads is about this run, however it ends."""

from collections.abc import Callable
from pathlib import Path
from xml.etree.ElementTree import parse

import pytest

from edgerkd.core.errors import EngineError, ParityError, StorageError
from edgerkd.core.requirement import Requirement
from tests.bundles import GRAPH, write_small_bundle
from tests.command import Ended

GREEN = (
    '<testsuites><testsuite name="edgerkd verify bundle" tests="1"><testcase name="verdict"/></testsuite></testsuites>'
)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("maker") / "bundle"
    asked = Requirement(min_clean_acc=0.0, min_robust_acc=0.0)
    write_small_bundle(folder, profiles=(), requirement=asked)
    return folder


@pytest.fixture
def verify(edgerkd, bundle, workdir) -> Callable[..., Ended]:
    """`edgerkd verify BUNDLE --junit`, which once was green."""
    (workdir / "j.xml").write_text(GREEN)
    return lambda *given, of=bundle: edgerkd("verify", of, "--no-attack", "--junit", workdir / "j.xml", *given)


def verdict(folder: Path) -> tuple[str, str, str]:
    """How the verdict's test case ended, of what type, and why."""
    found = parse(folder / "j.xml").getroot().findall("testsuite/testcase[@name='verdict']/*")
    (how,) = found
    return how.tag, how.get("type", ""), how.get("message", "")


def raising(error: BaseException) -> Callable[..., None]:
    def fail(*given: object, **named: object) -> None:
        raise error

    return fail


@pytest.mark.parametrize("damage", ["manifest.json", GRAPH])
def test_a_refused_bundle_is_not_as_green_as_the_run_before(damage, verify, bundle, workdir):
    """Catches a CI system that publishes the pass of a bundle which has been damaged since."""
    broken = workdir / "broken"
    broken.mkdir()
    for file in bundle.iterdir():
        content = file.read_bytes()
        (broken / file.name).write_bytes(content[:-9] if file.name == damage else content)
    ended = verify(of=broken)
    how, kind, why = verdict(workdir)
    assert (ended.code, how, kind) == (5, "error", "exit code 5: damaged or foreign file")
    assert damage in why
    assert damage in ended.err


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(("--trust", "gone.pub"), 3), (("--backend", "gone"), 3), (("--expect-sha256", "0" * 64), 5)],
)
def test_what_is_wrong_before_the_work_is_in_the_file(arguments, code, verify, workdir):
    """Catches a file that is begun only once a bundle was read, or a key was found."""
    ended = verify(*arguments)
    how, kind, _ = verdict(workdir)
    assert (ended.code, how, kind.partition(":")[0]) == (code, "error", f"exit code {code}")


@pytest.mark.parametrize(
    ("error", "code", "kind"),
    [
        (EngineError("the engine ended: <7> \x1b[31m"), 6, "exit code 6: export, build or engine failure"),
        (RuntimeError("a bug"), 70, "not ended"),
        (KeyboardInterrupt(), 130, "not ended"),
    ],
)
def test_an_engine_that_fails_is_not_as_green_as_the_run_before(error, code, kind, verify, workdir, monkeypatch):
    """Catches errors that leave an earlier file, also those that no command expects."""
    monkeypatch.setattr("edgerkd.verify.run.verify", raising(error))
    assert verify().code == code
    how, found, why = verdict(workdir)
    assert (how, found) == ("error", kind)
    assert (r"the engine ended: <7> \x1b[31m" in why) is (code == 6)


def test_a_report_that_cannot_be_kept_is_an_error(verify, workdir, monkeypatch):
    """Catches a command that ends with exit code 4, and a file that says it is still at work."""
    monkeypatch.setattr("edgerkd.verify.signed_report.write_report", raising(StorageError("no room")))
    assert verify().code == 4
    assert verdict(workdir) == ("error", "exit code 4: not usable here", "no room")


def test_a_run_that_has_a_report_keeps_its_test_cases(verify, workdir, monkeypatch):
    """Catches a parity failure, which is an error too, that takes the place of what was measured."""
    ended = verify()
    assert (ended.code, verdict(workdir)[0]) == (0, "skipped"), ended.err
    monkeypatch.setattr("edgerkd.cli.verify._end", raising(ParityError("parity")))
    assert verify().code == 6
    assert len(parse(workdir / "j.xml").getroot().findall("testsuite/testcase")) > 1


def test_a_place_that_cannot_be_written_is_said_before_any_work(verify, workdir, monkeypatch):
    """Catches a verification whose file fails at its end."""
    monkeypatch.setattr("edgerkd.verify.run.verify", raising(AssertionError("it began")))
    (workdir / "j.xml").unlink()
    (workdir / "j.xml").mkdir()
    ended = verify()
    assert (ended.code, "j.xml" in ended.err) == (4, True)

"""`edgerkd report`, through the real command line."""

import json
from dataclasses import replace

from edgerkd.core.run import mark_latest
from edgerkd.report.document import document
from edgerkd.report.page import render_page
from tests.report import samples

FACTS = replace(samples.facts(), manifest_sha256=None)


def test_the_newest_run(edgerkd, workdir):
    """Catches another run than the newest, and a path that is not the page's."""
    samples.written(replace(FACTS, verification=None), workdir / "runs" / "old-run")
    mark_latest(samples.written(FACTS, workdir / "runs" / "toy-run"))
    code, out, err = edgerkd("report")
    assert (code, out, err) == (0, "runs/toy-run/report.html\n", "")
    assert (workdir / out.strip()).read_text(encoding="utf-8") == render_page(FACTS)


def test_a_named_run_and_what_it_lacks(edgerkd, workdir):
    """Catches --run ignored, and what is not done told on stdout or not at all."""
    samples.written(replace(FACTS, verification=None, teacher=None), workdir / "mine")
    code, out, err = edgerkd("report", "--run", "mine")
    assert (code, out) == (0, "mine/report.html\n")
    assert "not verified yet: edgerkd export, then edgerkd verify" in err


def test_json_is_one_document_and_the_page_is_written(edgerkd, workdir):
    """Catches a path beside the document."""
    mark_latest(samples.written(FACTS, workdir / "runs" / "toy-run"))
    code, out, _ = edgerkd("report", "--json")
    document = json.loads(out)
    assert code == 0
    assert document["run"] == "toy-run"
    assert document["verification"]["verdict"] == "pass"
    assert document["student"]["robust_acc"]["n"] == 797
    assert (workdir / "runs" / "toy-run" / "report.html").exists()


def test_no_run_is_bad_input(edgerkd, workdir):
    """Catches a traceback in an empty folder."""
    for arguments in ((), ("--run", "nowhere")):
        code, out, err = edgerkd("report", *arguments)
        assert (code, out) == (3, "")
        assert err.startswith("error: ")


def test_a_damaged_file_exits_5_and_keeps_the_old_page(edgerkd, workdir):
    """Catches a page of half the facts."""
    run = samples.written(FACTS, workdir / "mine")
    old = document("old")
    run.page.write_text(old)
    run.verification(samples.VERIFICATION_KEY).write_text("{")
    code, _, err = edgerkd("report", "--run", "mine")
    assert code == 5
    assert f"verify-{samples.VERIFICATION_KEY}.json" in err
    assert run.page.read_text() == old

"""bench/frontier.py: what a pass is, how many epochs fit, and which results it goes on from."""

import argparse
import json
import sys
from dataclasses import asdict, replace
from types import ModuleType

import pytest
import torch

from edgerkd.core.progress import Silent
from edgerkd.core.recipe import Recipe
from edgerkd.core.threat import ThreatModel
from edgerkd.core.units import Radius
from edgerkd.data.dataset import Dataset
from edgerkd.distill.methods.registry import METHODS
from edgerkd.distill.trainer import Loop
from tests.benches import bench
from tests.recipes import recipe_of
from tests.zoo import THREAT, architecture, dataset, network


@pytest.fixture(scope="module")
def frontier() -> ModuleType:
    return bench("frontier")


DATA = dataset(n=96)
STUDENT = architecture(classes=3)


def recipe(method, **changes) -> Recipe:
    threat_model = ThreatModel(norm="Linf", eps=Radius("16/255"))
    return recipe_of(method, threat_model, **{"epochs": 2, "batch": 16, "lr": 0.02, **changes})


def teacher():
    return network(seed=7, family="preactresnet", widths=(16, 16), classes=3)


def passes(frontier, method, progress, **changes) -> tuple[float, float]:
    """Forward and backward, an image, of one step."""
    made = recipe(method, **changes)
    torch.manual_seed(0)
    student = network(classes=3).train()
    loop = Loop.begin(student, DATA, made, teacher=teacher() if method != "pgd-at" else None)
    if method == "edgerkd":
        loop = loop.with_cached_teacher(Silent())
    with frontier.Passes(STUDENT.image_shape) as counted:
        loop.step(torch.arange(16), progress)
    return counted.forward / 16, counted.backward / 16


def test_the_steps_of_an_inner_attack_are_counted(frontier):
    """Catches a count that a copy of the network, as inner attacks make, takes along; and a teacher left out."""
    assert passes(frontier, "pgd-at", 0.5, attack_steps=10) == (11, 11)
    assert passes(frontier, "rslad", 0.5, attack_steps=10) == (13, 12)
    assert passes(frontier, "edgerkd", 0.9) == (2, 2)
    assert passes(frontier, "edgerkd", 0.0, adversarial_share=0.8) == (2, 1)


def test_what_comes_once_and_validation_are_counted_but_nothing_afterwards(frontier):
    """Catches a teacher asked for nothing, and an evaluation's passes in the training's."""
    trained, _, counted = frontier.run(recipe("edgerkd", epochs=1, adversarial_share=1.0), STUDENT, teacher(), DATA)
    steps, train, val = 2, len(DATA.train), len(DATA.val)
    least = train + steps * 16 * 2 + val
    assert counted.forward > least
    before = counted.forward
    trained(torch.rand(4, *STUDENT.image_shape))
    assert counted.forward == before


def test_epochs_fit_into_the_minutes_with_all_that_they_cost(frontier):
    """Catches validation left out, what comes once charged to each step, and a run of no epoch."""
    costs = frontier.Costs(once=10.0, step=0.5, steps=10, validation=5.0)
    assert costs.epochs(minutes=1.0) == 5
    assert costs.epochs(minutes=0.1) == 1


def test_the_teachers_answers_are_no_part_of_a_step(frontier, monkeypatch):
    """Catches costs that are not measured apart: one clock tick a timing, so that only the count of them matters."""
    asked: list[Dataset] = []
    monkeypatch.setattr(frontier, "timed", lambda work: (work(), 2.0)[1])
    remembering = Loop.with_cached_teacher
    monkeypatch.setattr(
        Loop, "with_cached_teacher", lambda loop, p: (asked.append(loop.dataset), remembering(loop, p))[1]
    )
    choosing = replace(METHODS["edgerkd"], select_samples=lambda *_: torch.arange(8))
    monkeypatch.setitem(METHODS, "edgerkd", choosing)
    found = frontier.costs(recipe("edgerkd", batch=4), STUDENT, teacher(), dataset(n=300))
    assert found == frontier.Costs(once=2.0 * 100 / 32, step=2.0, steps=6, validation=2.0)
    assert {len(data.train) for data in asked} == {32}
    assert frontier.costs(recipe("pgd-at", batch=4), STUDENT, teacher(), dataset(n=300)).once == 0


def result(frontier, **changes):
    given = {"method": "rslad", "settings": {}, "seed": 0, "student": "s", "params": 1, "epochs": 4, "n": 100}
    given |= {"strong_n": 50, "minutes": 1.0, "forward": 1, "backward": 1, "clean": 0.8, "pgd": 0.5, "strong": 0.4}
    return frontier.Result(**{**given, **changes})


def test_results_of_another_setting_are_refused(frontier, tmp_path):
    """Catches figures of two teachers, attacks or budgets in one table."""
    path, setting = tmp_path / "r.json", {"teacher": "a", "attack": "apgd"}
    kept = result(frontier)
    path.write_text(json.dumps({"setting": setting, "results": [asdict(kept)]}))
    assert frontier.kept(path, setting) == [kept]
    assert frontier.kept(tmp_path / "none.json", setting) == []
    with pytest.raises(SystemExit, match=r"r\.json: holds results of another setting \(attack 'apgd', not 'square'\)"):
        frontier.kept(path, {**setting, "attack": "square"})
    path.write_text(json.dumps({"results": [asdict(kept)]}))
    with pytest.raises(SystemExit, match="another setting"):
        frontier.kept(path, setting)


def test_the_table_says_how_sure_a_figure_is(frontier, capsys):
    """Catches a bare figure of one seed, an interval of other images, and epochs of the first seed alone."""
    args = argparse.Namespace(n=100, attack="apgd", attack_n=50)
    frontier.show([result(frontier)], args)
    out = capsys.readouterr().out
    assert "50.0 [40.4, 59.6]" in out
    assert "40.0 [27.6, 53.8]" in out
    frontier.show([result(frontier), result(frontier, seed=1, epochs=6, pgd=0.7)], args)
    out = capsys.readouterr().out
    assert "60.0 ±14.1" in out
    assert "4, 6" in out


def test_a_file_of_two_students_is_drawn_one_student_at_a_time(frontier, tmp_path, monkeypatch):
    """Catches a picture in which students of another size stand among this one's."""
    drawn: list[list[str]] = []
    monkeypatch.setattr(frontier, "opened", lambda name: (DATA, THREAT))
    monkeypatch.setattr(frontier, "robust_network", lambda *_, **__: teacher())
    monkeypatch.setattr(
        frontier, "frontier_svg", lambda results, title: drawn.append([r.student for r in results]) or ""
    )
    monkeypatch.setattr(frontier, "measure", lambda *a: result(frontier, student=str(a[3]), method=a[0].method))
    for width in ("8", "16"):
        flags = ["--methods", "rslad", "--seeds", "1", "--equal-epochs", "1", "--widths", width]
        files = ["--json", str(tmp_path / "f.json"), "--svg", str(tmp_path / "f.svg")]
        monkeypatch.setattr(sys, "argv", ["frontier", *flags, *files])
        frontier.main()
    assert [len(students) for students in drawn] == [1, 1]
    assert len(json.loads((tmp_path / "f.json").read_text())["results"]) == 2

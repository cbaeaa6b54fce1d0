"""bench/study.py and its neighbours: what a plan says, what a run costs, how it goes on, what its tables compare."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from edgerkd.core.errors import ConfigError
from edgerkd.core.progress import Silent
from edgerkd.core.recipe import Recipe
from edgerkd.core.threat import ThreatModel
from edgerkd.core.units import Radius
from edgerkd.data.dataset import Dataset
from edgerkd.distill import replay
from edgerkd.distill.methods.recipes import recipe_for
from edgerkd.distill.methods.registry import METHODS, load_method
from edgerkd.distill.replay import WARM_UP, Replay
from edgerkd.distill.trainer import Loop
from edgerkd.models.cost import count_cost
from tests.benches import BENCH, bench
from tests.recipes import recipe_of
from tests.recorder import Recorded
from tests.zoo import THREAT, architecture, dataset, network


@pytest.fixture(scope="module")
def student() -> ModuleType:
    return bench("student")


@pytest.fixture(scope="module")
def study() -> ModuleType:
    return bench("study")


@pytest.fixture(scope="module")
def table() -> ModuleType:
    return bench("study_table")


RESULT = bench("result")
DATA = dataset(n=96)
STUDENT = architecture(classes=3)


def recipe(method, **changes) -> Recipe:
    threat_model = ThreatModel(norm="Linf", eps=Radius("16/255"))
    return recipe_of(method, threat_model, **{"epochs": 2, "batch": 16, "lr": 0.02, **changes})


def teacher():
    return network(seed=7, family="preactresnet", widths=(16, 16), classes=3)


def work(method, progress, *, steps=1, repeated=False, **changes):
    """What steps of 16 images do."""
    made = recipe(method, **changes)
    torch.manual_seed(0)
    loop = Loop.begin(network(classes=3).train(), DATA, made, teacher=teacher() if method != "pgd-at" else None)
    if method == "edgerkd":
        loop = loop.with_cached_teacher(Silent())
    with bench("passes").Passes(STUDENT.image_shape) as counted:
        if repeated:
            loop = replace(loop, repeats=Replay(replay.on_gpu))
        for _ in range(steps):
            loop.step(torch.arange(16), progress)
    return counted.work


@pytest.mark.parametrize(
    ("method", "progress", "changes", "forward", "backward"),
    [
        ("pgd-at", 0.5, {"attack_steps": 10}, 11, 11),
        ("rslad", 0.5, {"attack_steps": 10}, 13, 12),
        ("edgerkd", 0.9, {}, 3, 3),
        ("edgerkd", 0.0, {"adversarial_share": 0.8}, 2, 1),
    ],
)
def test_the_steps_of_an_inner_attack_are_counted(method, progress, changes, forward, backward):
    """Catches a count that a copy of the network, as inner attacks make, takes along; and a teacher left out."""
    found = work(method, progress, **changes)
    assert (found.forward, found.backward) == (16 * forward, 16 * backward)


def test_a_repeated_step_counts_each_time(monkeypatch):
    """Catches a graph's repetitions left out, which no layer sees, and its recording, which computes nothing."""
    monkeypatch.setattr(replay, "on_gpu", recorded := Recorded())
    found = work("edgerkd", 0.5, steps=WARM_UP + 4, repeated=True)
    assert recorded.times == [4]
    assert asdict(found) == asdict(work("edgerkd", 0.5, steps=WARM_UP + 4))


def test_multiply_adds_are_those_of_each_gradient_that_is_asked_for():
    """Catches backward passes counted as one product, the image's gradient where nobody asks, a frozen teacher's."""
    first = 16 * 8 * 8 * 8 * 9  # (images) x (places) x (channels) x (weights a channel) of the first layer
    own = 16 * count_cost(STUDENT)[0].macs
    their = 16 * count_cost(teacher().architecture)[0].macs
    standard = work("standard", 0.5).macs
    assert standard == 3 * own - first
    assert work("kd", 0.5).macs == standard + their
    attack = 2 * own  # it asks for the images' gradient and for none of the weights'
    assert work("pgd-at", 0.5, attack_steps=1).macs == standard + attack
    assert work("n-fgsm", 0.5).macs == standard + attack


def test_what_comes_once_and_validation_are_counted_but_nothing_afterwards(student):
    """Catches a teacher asked for nothing, and an evaluation's passes in the training's."""
    made = recipe("edgerkd", epochs=1, adversarial_share=1.0)
    found = student.trained(made, STUDENT, teacher(), DATA, folder=None)
    steps, train, val = 2, len(DATA.train), len(DATA.val)
    assert found.work.forward > train + steps * 16 * 2 + val
    before = found.work.forward
    found.network(torch.rand(4, *STUDENT.image_shape))
    assert found.work.forward == before


def test_epochs_fit_into_what_a_run_may_cost(student):
    """Catches validation left out, what comes once charged to each step, and a run of no epoch."""
    costs = student.Costs(once=10.0, step=0.5, steps=10, validation=5.0)
    assert costs.epochs(60.0) == 5
    assert costs.epochs(6.0) == 1


def test_a_run_of_so_many_multiply_adds_makes_them(student):
    """Catches minutes or another unit in their place, the teacher's or the attack's passes left out, and a guess."""
    made, data = recipe("edgerkd", epochs=3, batch=4, keep_misclassified=True), dataset(n=300)
    took = student.trained(made, STUDENT, teacher(), data, folder=None).work.macs / 1e12
    length = bench("plan").Length(tera_macs=took)
    assert student.epochs_of(length, made, STUDENT, teacher(), data) == 3


def test_the_teachers_answers_are_no_part_of_a_step(student, monkeypatch):
    """Catches costs that are not measured apart: one clock tick a timing, so that only the count of them matters."""
    asked: list[Dataset] = []

    def measure(work):
        work()
        return 2.0

    remembering = Loop.with_cached_teacher
    monkeypatch.setattr(
        Loop, "with_cached_teacher", lambda loop, p: (asked.append(loop.dataset), remembering(loop, p))[1]
    )
    choosing = replace(METHODS["edgerkd"], select_samples=lambda *_: torch.arange(8))
    monkeypatch.setitem(METHODS, "edgerkd", choosing)
    found = student.costs(recipe("edgerkd", batch=4), STUDENT, teacher(), dataset(n=300), measure=measure)
    assert found == student.Costs(once=2.0 * 100 / 32, step=2.0, steps=6, validation=2.0)
    assert {len(data.train) for data in asked} == {32}
    assert student.costs(recipe("pgd-at", batch=4), STUDENT, teacher(), dataset(n=300), measure=measure).once == 0


def test_answers_are_kept_bit_by_bit():
    """Catches bits of the last byte that are no answers, and an order turned round."""
    for n in (1, 8, 13):
        answers = np.random.default_rng(n).random(n) < 0.5
        assert (RESULT.unpacked(RESULT.packed(answers.tolist())) == answers).all()


PLAN = """
title = "t"
seeds = 2
epochs = 1
[attacks]
pgd-20-ce = 12
[[cases]]
name = "small"
data = "digits"
family = "resnet"
widths = [4]
blocks = [1]
train = 128
[[runs]]
method = "standard"
[[runs]]
method = "n-fgsm"
label = "single"
epochs = 2
seeds = 1
"""


def study_of(study, folder: Path, text: str = PLAN):
    path = folder / "plan.toml"
    path.write_text(text)
    place = study.Place(out=folder / "found.json", work=folder / "work", teachers=(folder,))
    study.carry_out(study.read_plan(path), place, only=[], until=None)
    return place


def test_a_study_goes_on_where_it_was_and_repeats_nothing(study, tmp_path, capsys):
    """Catches a run trained twice, a seed too many, epochs of the plan in place of the run's, and lost answers."""
    place = study_of(study, tmp_path)
    found = json.loads(place.out.read_text())["results"]
    assert [(r["run"], r["seed"], r["epochs"]) for r in found] == [
        ("standard", 0, 1),
        ("single", 0, 2),
        ("standard", 1, 1),
    ]
    assert all(r["correct"]["clean"].startswith("12:") and r["gmacs"] >= 0 for r in found)
    assert (place.work / "found-small-single-0.safetensors").exists()
    before = place.out.read_bytes()
    capsys.readouterr()
    study_of(study, tmp_path)
    assert "epoch" not in capsys.readouterr().out
    assert place.out.read_bytes() == before


def test_a_student_goes_on_from_the_weights_that_its_case_names(study, tmp_path):
    """Catches a start that is read and not used, and weights of another network."""
    first = study_of(study, tmp_path).work / "found-small-single-0.safetensors"
    (tmp_path / "start.safetensors").write_bytes(first.read_bytes())
    still = 'method = "standard"\nset = { lr = 1e-9, lr_muon = 1e-9, averaging = "swa" }'
    text = PLAN.replace("seeds = 2", "seeds = 1").replace('method = "standard"', still)
    text = text.replace("train = 128", 'train = 128\nstart = "start.safetensors"')
    folder = tmp_path / "again"
    folder.mkdir()
    place = study.Place(out=folder / "found.json", work=folder / "work", teachers=(tmp_path,))
    study.carry_out(study.read_plan(_written(folder, text)), place, only=["standard"], until=None)
    found = [path for path in place.work.glob("*.safetensors") if "standard" in path.name]
    before, after = load_file(first), load_file(found[0])
    assert len(before) == len(after) > 4
    for name in before:
        if "running" not in name and "batches" not in name:
            assert torch.dist(before[name].float(), after[name].float()) < 1e-6, name
    plan = study.read_plan(_written(folder, text.replace("widths = [4]", "widths = [6]")))
    with pytest.raises(SystemExit, match=r"start.safetensors: its network is resnet 4"):
        study.open_case(plan.cases[0], plan, place)


def test_a_run_that_was_stopped_counts_both_sittings(student, tmp_path, monkeypatch):
    """Catches a cost that is of the last sitting alone, and validation figures of the first one lost."""
    whole = student.trained(recipe("n-fgsm"), STUDENT, None, DATA, folder=None)

    class Stop(BaseException):
        pass

    keeping = student.write_atomic

    def stop(path, content):
        keeping(path, content)
        raise Stop

    monkeypatch.setattr(student, "write_atomic", stop)
    with pytest.raises(Stop):
        student.trained(recipe("n-fgsm"), STUDENT, None, DATA, folder=tmp_path)
    monkeypatch.setattr(student, "write_atomic", keeping)
    again = student.trained(recipe("n-fgsm"), STUDENT, None, DATA, folder=tmp_path)
    assert [e.epoch for e in again.epochs] == [1, 2]
    assert again.work.macs >= whole.work.macs


def test_the_images_left_out_of_training_are_no_others(study, tmp_path):
    """Catches a choice made on images that were trained on."""
    plan = study.read_plan(_written(tmp_path, PLAN.replace("epochs = 1", 'epochs = 1\nsplit = "rest"', 1)))
    place = study.Place(out=tmp_path / "o.json", work=tmp_path, teachers=())
    case = study.open_case(plan.cases[0], plan, place)
    shown, judged = set(case.data.train.index.tolist()), set(case.judged.index.tolist())
    assert len(shown) == 128
    assert judged
    assert not shown & judged


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("epochs = 1", "seeds = 3", "plan.toml"),  # twice
        ("epochs = 1\n", "", "neither epochs nor minutes"),
        ('label = "single"', 'label = "standard"', "same name"),
        ("train = 128", "images = 128", "images"),
        ('family = "resnet"', 'family = "resent"', "family"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(study, tmp_path, old, new, words):
    """Catches runs that overwrite each other, that never end, and a key that nobody reads."""
    with pytest.raises(ConfigError, match=words):
        study.read_plan(_written(tmp_path, PLAN.replace(old, new, 1)))


def test_every_plan_can_be_carried_out(study):
    """Catches a plan with an option that its method no longer has, or an attack that there is none of."""
    from edgerkd.attacks.suite import attacks_of

    plans = sorted((BENCH / "plans").glob("*.toml"))
    assert plans
    for plan in map(study.read_plan, plans):
        for run in plan.runs:
            recipe_for(load_method(run.method), THREAT, epochs=1, settings=run.set, where=run.name)
        assert all(attacks_of(attack) for attack in plan.attacks)


def _written(folder: Path, text: str) -> Path:
    path = folder / "plan.toml"
    path.write_text(text)
    return path


def result(table, run="a", seed=0, robust=(1, 1, 0, 0), clean=(1, 1, 1, 0), **changes):
    correct = {"apgd": RESULT.packed(list(robust)), "clean": RESULT.packed(list(clean))}
    given = {
        "case": "c",
        "run": run,
        "method": "rslad",
        "set": {},
        "seed": seed,
        "student": "s",
        "params": 1,
        "macs": 1,
    }
    given |= {"epochs": 4, "minutes": 1.0, "forward": 1, "backward": 1, "gmacs": 1, "epochs_acc": [], "machine": "m"}
    return table.Result(**{**given, "correct": correct, **changes})


def test_a_table_says_how_sure_a_figure_is(table):
    """Catches a bare figure of one seed, clean accuracy under an attack's name, and epochs of the first seed alone."""
    one = table.table([result(table)])
    assert "75.0 [30.1, 95.4] | 50.0 [15.0, 85.0]" in one
    two = table.table([result(table), result(table, seed=1, robust=(1, 1, 1, 1), epochs=6)])
    assert "75.0 ±35.4" in two
    assert "4, 6" in two


def test_differences_are_of_the_same_images_and_seeds(table):
    """Catches means of unpaired runs, an interval as if images were other images, and a seed that only one has."""
    base = [result(table, robust=(1, 0) * 50, clean=(1,) * 100)]
    same = [result(table, run="b", robust=(1, 0) * 50, clean=(1,) * 100), result(table, run="b", seed=1)]
    assert table.paired(same, base, "apgd") == (0.0, 0.0, 1)
    better = [result(table, run="b", robust=(1,) * 100, clean=(1,) * 100)]
    mean, half, seeds = table.paired(better, base, "apgd")
    assert (mean, seeds) == (50.0, 1)
    assert half == pytest.approx(1.959964 * 100 * np.std([0, 1] * 50, ddof=1) / 10)
    assert table.paired(better, [replace(base[0], seed=3)], "apgd") is None
    assert "+50.0 ±9.8 *" in table.differences([*base, *better], "a")


def test_seeds_that_differ_widen_the_interval(table):
    """Catches certainty won from many images although the seeds contradict each other."""
    base = [result(table, seed=s, robust=(1, 0) * 200, clean=(1,) * 400) for s in range(3)]
    apart = [
        result(table, run="b", seed=s, robust=(1, 1, 1, 0) * s * 50 + (1, 0) * (200 - 100 * s), clean=(1,) * 400)
        for s in range(3)
    ]
    mean, half, seeds = table.paired(apart, base, "apgd")
    assert seeds == 3
    assert half > mean > 0


def test_results_are_read_back_as_they_were_written(table, tmp_path):
    """Catches a field that the file lacks."""
    path = tmp_path / "r.json"
    path.write_text(json.dumps({"plan": {}, "results": [asdict(result(table))]}))
    assert table.results_in(path) == [result(table)]


def test_pictures_show_a_mark_a_result(table):
    """Catches a run left out, two runs in one colour, and seeds drawn as one."""
    chart = bench("study_chart")
    log = [[0.5, 0.2], [0.6, 0.3]]
    results = [result(table, run=run, seed=seed, epochs_acc=log) for run in ("a", "b") for seed in (0, 1)]
    svg = chart.by_cost(results, "apgd", "t")
    assert svg.count("<title>") == 4
    assert svg.count("hsl(0 ") == svg.count("hsl(180 ") == 3
    assert chart.by_epoch(results, "t").count("<polyline") == 4


def test_long_runs_get_the_best_trial_of_each_method(study, tmp_path):
    """Catches the last trial, the worst, another method's, a plan that cannot be read, and a method left out."""
    long_plan, plans = bench("long_plan"), BENCH / "plans"

    def trial(method, robust, **settings):
        return {"method": method, "set": settings, "correct": {"pgd": RESULT.packed([True] * robust + [False] * 8)}}

    chosen = long_plan.chosen(
        [
            trial("edgerkd", 5),
            trial("edgerkd", 7, lr_muon=0.03),
            trial("n-fgsm", 6),
            trial("n-fgsm", 6, lr_muon=0.08),
            trial("edgerkd", 6, lr_muon=0.08),
            trial("rslad", 2, attack_steps=2),
            trial("pgd-at", 3, attack_steps=4),
        ]
    )
    best = {"edgerkd": {"lr_muon": 0.03}, "n-fgsm": {}, "rslad": {"attack_steps": 2}, "pgd-at": {"attack_steps": 4}}
    assert chosen == best
    text = (plans / "long-gpu.toml").read_text()
    read = study.read_plan(_written(tmp_path, long_plan.with_settings(text, chosen)))
    assert {run.method: run.set for run in read.runs} == chosen
    assert {run.name for run in read.runs} == set(chosen)
    with pytest.raises(ValueError, match="the study"):
        long_plan.with_settings(text, {"edgerkd": {}})

"""The trainer: it learns, resumes bit for bit, and says when it cannot go on."""

import json
import re
from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from edgerkd.core.epoch import Epoch
from edgerkd.core.errors import ArtefactError, ConfigError, DivergedError
from edgerkd.core.progress import Silent
from edgerkd.core.recipe import Recipe
from edgerkd.core.threat import ThreatModel
from edgerkd.core.units import Radius
from edgerkd.data.dataset import to_float
from edgerkd.distill import trainer
from edgerkd.distill.adapters import Adapters
from edgerkd.distill.averaging import WeightAverage
from edgerkd.distill.checkpoint import load_checkpoint
from edgerkd.distill.epoch_line import epoch_line
from edgerkd.distill.methods.registry import METHODS
from edgerkd.distill.optimizer import Optimizer
from edgerkd.distill.trainer import Keeper, Loop, train
from edgerkd.distill.validation import Validation
from edgerkd.files.decode import encode_json
from edgerkd.models.build import build
from tests.listening import Listening
from tests.recipes import recipe_of
from tests.zoo import architecture, dataset, network

DATA = dataset(n=240)
EPS = Radius("16/255")


def recipe(method="standard", **changes) -> Recipe:
    threat_model = ThreatModel(norm="Linf", eps=EPS)
    given = {"threat_model": threat_model, "epochs": 4, "batch": 16, "attack_steps": 2, "ema_decay": 0.5, "lr": 0.05}
    return recipe_of(method, **{**given, **changes})


def teacher():
    return network(seed=7, family="preactresnet", widths=(16, 16), classes=3)


def run(method="edgerkd", *, checkpoint=None, resume=False, epochs_seen=None, stop_after=None, **changes):
    torch.manual_seed(1)
    student = build(architecture(classes=3))

    def on_epoch(epoch):
        if epochs_seen is not None:
            epochs_seen.append(epoch)
        if stop_after == epoch.epoch:
            raise KeyboardInterrupt

    return train(
        student,
        DATA,
        recipe(method, **changes),
        teacher=teacher() if METHODS[method].needs_teacher else None,
        checkpoint=checkpoint,
        resume=resume,
        on_epoch=on_epoch,
        progress=Silent(),
    ).network


def test_an_interrupted_run_with_every_setting_ends_the_same(tmp_path):
    """Catches an equal average, a patience or a decay that starts again."""
    settings = {"averaging": "swa", "swa_start": 0.25, "cutout": 0.3, "clip_norm": 0.5, "schedule": "piecewise"}
    whole = run("standard", patience=3, **settings).state_dict()
    with pytest.raises(KeyboardInterrupt):
        run("standard", patience=3, checkpoint=tmp_path / "c.pt", stop_after=3, **settings)
    again = run("standard", patience=3, checkpoint=tmp_path / "c.pt", resume=True, **settings).state_dict()
    for name, value in whole.items():
        assert_close(again[name], value, rtol=0, atol=0, msg=name)


@pytest.mark.parametrize("within", [False, True], ids=["between epochs", "within an epoch"])
@pytest.mark.parametrize(
    "method", [m if m in ("edgerkd", "trades") else pytest.param(m, marks=pytest.mark.slow) for m in sorted(METHODS)]
)
def test_an_interrupted_run_ends_with_the_weights_of_an_uninterrupted_one(tmp_path, monkeypatch, method, within):
    """Catches any state left out of the checkpoint: momentum, averages, adapters, random numbers, an epoch's order."""
    whole, seen = [], []
    weights = run(method, epochs_seen=whole).state_dict()
    if within:
        monkeypatch.setattr(trainer, "KEEP_SECONDS", -1.0)  # after each step
        monkeypatch.setattr(trainer, "KEEP_SHARE", float("inf"))
        step, steps = Loop.step, []

        def step_and_stop(loop, rows, progress):
            if len(steps) == 6:
                raise KeyboardInterrupt
            steps.append(progress)
            return step(loop, rows, progress)

        monkeypatch.setattr(Loop, "step", step_and_stop)
    with pytest.raises(KeyboardInterrupt):
        run(method, checkpoint=tmp_path / "c.pt", stop_after=2, epochs_seen=seen)
    if within:
        kept = load_checkpoint(tmp_path / "c.pt", recipe(method))
        assert kept.epoch > 0
        assert kept.states["under_way"]["steps"] > 0
        monkeypatch.setattr(Loop, "step", step)
    again = run(method, checkpoint=tmp_path / "c.pt", resume=True, epochs_seen=seen).state_dict()
    for name, value in weights.items():
        assert_close(again[name], value, rtol=0, atol=0, msg=name)
    assert seen[-1].terms == pytest.approx(whole[-1].terms, rel=1e-6)


def test_a_run_says_what_it_will_take_once_its_first_steps_tell(monkeypatch):
    """Catches hours that nobody was told of, and a line an epoch that a log lacks."""
    monkeypatch.setattr(trainer, "FIRST_STEPS", 2)
    heard = Listening()
    train(
        build(architecture(classes=3)),
        DATA,
        recipe("standard", epochs=2),
        teacher=None,
        checkpoint=None,
        resume=False,
        on_epoch=lambda epoch: None,
        progress=heard,
    )
    (line,) = heard.lines
    assert re.fullmatch(r"standard: about \S+ s in all, \S+ s an epoch, at \d+ images a second", line)
    assert [line.partition(",")[0] for line in heard.logged] == ["standard: epoch 1/2", "standard: epoch 2/2"]


@pytest.mark.parametrize("batch", [8, 26], ids=["ten steps an epoch", "three"])
def test_what_a_run_will_take_is_told_without_its_slow_first_steps(monkeypatch, batch):
    """Catches what is prepared once, ten times a step on a GPU, counted for every step; and epochs of a few steps."""
    clock = [0.0]
    monkeypatch.setattr(trainer.time, "perf_counter", lambda: clock[0])
    step, done = Loop.step, []

    def timed(loop, rows, progress):
        clock[0] += 3.0 if len(done) < 5 else 0.25
        done.append(progress)
        return step(loop, rows, progress)

    monkeypatch.setattr(Loop, "step", timed)
    loop = Loop.begin(network(classes=3).train(), DATA, recipe("standard", batch=batch), teacher=None)
    said: list[str] = []
    while len(done) < 10:
        loop.epoch(lambda done, words: None, keeper=Keeper(None, loop.state, loop.recipe), say=said.append)
    (line,) = said
    assert line.endswith(f"{loop.steps / 4:.2g} s an epoch, at {4 * batch} images a second")


def test_training_learns(tmp_path):
    """Catches an optimiser that is never stepped: bars this clear are learned in a few epochs."""
    seen = []
    run("standard", epochs=8, epochs_seen=seen)
    assert seen[-1].val_clean_acc > 0.9
    assert seen[-1].terms["ce"] < 0.5 * seen[0].terms["ce"]


def test_adversarial_training_resists_more_than_standard_training():
    """Catches an inner attack that is not used."""
    robust = {}
    for method in ("standard", "pgd-at"):
        seen = []
        run(
            method,
            epochs=10,
            epochs_seen=seen,
            attack_steps=5,
            threat_model=ThreatModel(norm="Linf", eps=Radius("64/255")),
        )
        robust[method] = seen[-1].val_robust_acc
    assert robust["pgd-at"] > robust["standard"] + 0.2


def test_the_method_of_edgerkd_is_cheap_first_and_adversarial_later():
    """Catches the two phases swapped, and an adversarial image made in a MixACM epoch."""
    seen = []
    run("edgerkd", epochs=4, adversarial_share=0.5, epochs_seen=seen)
    assert set(seen[0].terms) == {"kld", "acm"}
    assert set(seen[-1].terms) == {"kld_adv", "acm_adv", "cov_adv", "gram_adv"}


def test_taps_are_paired_from_the_deepest():
    """Catches the stem's map matched to the teacher's last where stages differ in number."""
    student, bigger = network(widths=(8, 16)), network(family="preactresnet", widths=(8, 16, 32), blocks=(1,) * 3)
    adapters = Adapters(student, bigger)
    own, theirs = (net.features(torch.rand(2, 1, 8, 8)).taps for net in (student, bigger))
    pairs = adapters.pairs(own, theirs)
    assert [(s.shape[1], t.shape[1]) for _, s, t in pairs] == [(16, 32), (8, 16)]
    assert [tuple(adapter(s.mean((2, 3))).shape) for adapter, s, _ in pairs] == [(2, 32), (2, 16)]


def test_the_test_split_is_never_looked_at():
    """Catches model selection on the test split: poisoned test labels must change nothing."""
    global DATA
    original, before = DATA, run("pgd-at").state_dict()
    poisoned = replace(original.test, labels=torch.full_like(original.test.labels, 99))
    DATA = replace(original, test=poisoned)
    try:
        after = run("pgd-at").state_dict()
    finally:
        DATA = original
    for name, value in before.items():
        assert_close(after[name], value, rtol=0, atol=0)


def test_divergence_is_said_within_the_epoch_and_the_last_good_state_kept(tmp_path, monkeypatch):
    """Catches NaN weights written over a good checkpoint."""
    path = tmp_path / "c.pt"
    real = METHODS["standard"]
    calls = {"n": 0}

    def breaks(given, seen):
        calls["n"] += 1
        return {"ce": real.terms(given, seen)["ce"] * (float("nan") if calls["n"] > 7 else 1.0)}

    monkeypatch.setitem(METHODS, "standard", replace(real, terms=breaks))
    with pytest.raises(DivergedError, match=r"epoch 2 .*kept in .*c\.pt.*another --seed"):
        run("standard", checkpoint=path)
    monkeypatch.setitem(METHODS, "standard", real)
    seen = []
    run("standard", checkpoint=path, resume=True, epochs_seen=seen)
    assert [epoch.epoch for epoch in seen] == [2, 3, 4]


def test_weights_that_break_in_the_last_step_are_noticed_in_their_own_epoch(tmp_path, monkeypatch):
    """Catches a check of the loss alone, which was finite when it was computed: NaN would be kept as the good state."""
    path = tmp_path / "c.pt"
    real = METHODS["standard"]
    calls = {"n": 0}

    def breaks(given, seen):
        calls["n"] += 1
        ce = real.terms(given, seen)["ce"]
        if calls["n"] == 10:
            ce.register_hook(lambda gradient: gradient * float("nan"))
        return {"ce": ce}

    monkeypatch.setitem(METHODS, "standard", replace(real, terms=breaks))
    with pytest.raises(DivergedError, match=r"weights are no longer finite in epoch 2 .*kept in"):
        run("standard", checkpoint=path)
    assert load_checkpoint(path, recipe()).epoch == 1


def validations(monkeypatch, robust: list[float]) -> None:
    """Let the epochs be as good as `robust` says, one after the other."""
    answers = iter(robust)
    monkeypatch.setattr(trainer, "validate", lambda *_, **__: Validation(0.9, next(answers), 0.1))


def test_training_stops_when_patience_is_over_and_a_resumed_run_does_not_go_on(tmp_path, monkeypatch):
    """Catches patience counted from the start, and one that a resumed run has forgotten."""
    seen = []
    validations(monkeypatch, [0.1, 0.3, 0.2, 0.2, 0.9])
    run("pgd-at", epochs=5, patience=2, checkpoint=tmp_path / "c.pt", epochs_seen=seen)
    assert [epoch.epoch for epoch in seen] == [1, 2, 3, 4]
    run("pgd-at", epochs=5, patience=2, checkpoint=tmp_path / "c.pt", resume=True, epochs_seen=seen)
    assert len(seen) == 4


def test_without_patience_all_epochs_are_trained(monkeypatch):
    """Catches a stop that nobody asked for."""
    seen = []
    validations(monkeypatch, [0.3, 0.2, 0.1, 0.1, 0.1])
    run("standard", epochs=5, epochs_seen=seen)
    assert len(seen) == 5


def shown(monkeypatch, rows: torch.Tensor) -> tuple[set[int], int]:
    """The training images of two epochs where a method chooses these rows, and the steps of one."""
    seen = set()
    images = to_float(DATA.train.images)

    def terms(step, answers):
        for image, remembered in zip(step.images, step.cached_teacher.logits, strict=True):
            (row,) = (images == image).flatten(1).all(1).nonzero()[:, 0].tolist()
            assert_close(remembered, loop.cached_teacher.logits[row])
            seen.add(row)
        return {"ce": answers.student.logits.sum()}

    choosing = replace(METHODS["edgerkd"], attack=None, terms=terms, select_samples=lambda *_: rows)
    monkeypatch.setitem(METHODS, "edgerkd", choosing)
    loop = Loop.begin(network(classes=3).train(), DATA, recipe("edgerkd", batch=8), teacher=teacher())
    loop = loop.with_cached_teacher(Silent())
    for _ in range(2):
        loop.epoch(lambda done, words: None, keeper=Keeper(None, loop.state, loop.recipe), say=lambda line: None)
    return seen, loop.steps


def test_an_epoch_shows_the_chosen_images_alone(monkeypatch):
    """Catches a choice that goes nowhere, places in it for rows, and what is remembered of other images."""
    rows, steps = shown(monkeypatch, torch.arange(40, 60))
    assert steps == 2
    assert rows <= set(range(40, 60))
    assert len(rows) > 16


def test_a_choice_smaller_than_a_batch_is_not_made(monkeypatch):
    """Catches an epoch without a step."""
    assert shown(monkeypatch, torch.arange(7))[1] == len(DATA.train) // 8


def test_gradients_are_clipped_together_and_before_the_step(monkeypatch):
    """Catches a limit that goes nowhere, one an element, and one set after the weights have moved."""
    lengths = []
    step = Optimizer.step

    def noted(self):
        lengths.append(torch.cat([p.grad.flatten() for p in self.parameters]).norm().item())
        step(self)

    monkeypatch.setattr(Optimizer, "step", noted)
    run("standard", epochs=1)
    free, limit = list(lengths), min(lengths) / 2
    lengths.clear()
    run("standard", epochs=1, clip_norm=limit)
    assert lengths == pytest.approx([limit] * len(free), rel=1e-3)


def test_the_equal_average_begins_with_its_share_of_the_run(monkeypatch):
    """Catches an average over all epochs, and one over none."""
    points = []
    measured = WeightAverage.measure_batch_norm

    def noted(self, batches):
        points.append(self.updates)
        measured(self, batches)

    monkeypatch.setattr(WeightAverage, "measure_batch_norm", noted)
    run("standard", epochs=4, averaging="swa", swa_start=0.5)
    assert points == [1, 2]


def test_a_checkpoint_of_another_recipe_is_refused(tmp_path):
    """Catches weights of one recipe trained on under another."""
    run("standard", checkpoint=tmp_path / "c.pt", epochs=1)
    with pytest.raises(ArtefactError, match="another recipe"):
        run("standard", checkpoint=tmp_path / "c.pt", resume=True, lr=0.3)


@pytest.mark.parametrize("damage", [b"", b"garbage"])
def test_a_damaged_checkpoint_is_refused(tmp_path, damage):
    """Catches a raw unpickling error."""
    (tmp_path / "c.pt").write_bytes(damage)
    with pytest.raises(ArtefactError, match="not a readable checkpoint"):
        run("standard", checkpoint=tmp_path / "c.pt", resume=True)


def test_distilling_without_a_teacher_is_refused():
    """Catches a crash in the first step."""
    with pytest.raises(ConfigError, match="--teacher"):
        train(
            build(architecture(classes=3)),
            DATA,
            recipe("edgerkd"),
            teacher=None,
            checkpoint=None,
            resume=False,
            on_epoch=lambda epoch: None,
            progress=Silent(),
        )


def test_metrics_of_an_epoch_are_plain_numbers():
    """Catches a tensor in metrics.jsonl."""
    seen = []
    run("standard", epochs=1, epochs_seen=seen)
    line = json.loads(encode_json(seen[0]))
    assert line["images_per_second"] > 0
    assert 0 <= line["val_robust_acc"] <= line["val_clean_acc"] <= 1


@pytest.mark.parametrize(
    ("robust", "best", "said"),
    [
        (0.02, 0.35, True),
        (0.17, 0.35, True),
        (0.2, 0.35, False),
        (0.02, 0.1, False),
        (0.4, 0.35, False),
        (0.0, 0.0, False),
    ],
)
def test_a_collapse_is_said_and_a_bad_start_is_none(robust, best, said):
    """Catches single-step training that resists nothing any more in silence, and an alarm at a few points of noise."""
    epoch = Epoch(
        epoch=2, terms={}, val_clean_acc=0.5, val_robust_acc=robust, lr=0.1, seconds=1.0, images_per_second=1.0
    )
    line = epoch_line(epoch, recipe_of("n-fgsm", epochs=3), best)
    assert ("the training has collapsed" in line) is said
    assert f"it was {best:.1%}" in line or not said


def test_training_itself_says_that_it_collapsed(monkeypatch):
    """Catches a line that compares an epoch with itself, and one that no training writes."""
    found = iter([(0.6, 0.4, 0.1), (0.7, 0.01, 0.1)])
    monkeypatch.setattr(trainer, "validate", lambda *_, **__: next(found))
    lines: list[str] = []

    class Heard(Silent):
        def log(self, line: str) -> None:
            lines.append(line)

    trainer.train(
        network(classes=3),
        dataset(n=96),
        recipe_of("n-fgsm", epochs=2, batch=16),
        teacher=None,
        checkpoint=None,
        resume=False,
        on_epoch=lambda epoch: None,
        progress=Heard(),
    )
    assert ["collapsed" in line for line in lines] == [False, True]

"""The flags: each is raised by a model that was masked for it, and none by an honest one."""

from dataclasses import replace
from functools import cache, partial

import numpy as np
import pytest
import torch
from torch import nn

from edgerkd.attacks.active_set import AttackInputs
from edgerkd.attacks.apgd import apgd
from edgerkd.attacks.ball import length, random_start
from edgerkd.attacks.flag_kinds import KINDS
from edgerkd.attacks.flags import PROBES, check_within, raise_flags
from edgerkd.attacks.losses import margin_targeted
from edgerkd.attacks.row_flags import by_noise, by_queries, flags_of_rows
from edgerkd.attacks.sanity import check_arrays, check_classifier
from edgerkd.attacks.words import flag_words
from edgerkd.core.accuracy import accuracy_from_correct
from edgerkd.core.errors import ConfigError, EngineError
from edgerkd.core.evaluation import Row
from edgerkd.core.threat import ThreatModel
from edgerkd.core.units import Radius
from edgerkd.data.dataset import to_float
from edgerkd.models.classifier import TorchClassifier
from tests.zoo import LinearToy, dataset, network

CLASSES = 3
EPS = {"Linf": "80/255", "L2": "1"}


def task_of(images, labels, *, norm="Linf", eps=None) -> AttackInputs:
    threat_model = ThreatModel(norm=norm, eps=Radius(eps or EPS[norm]))
    return AttackInputs(images=images, labels=labels, threat_model=threat_model, seed=0, index=np.arange(len(labels)))


@cache
def honest() -> nn.Module:
    """A network that has learned the bars, and a little robustness with them."""
    bars = dataset(n=384, classes=CLASSES)
    images, labels = to_float(bars.train.images), bars.train.labels
    net = network(classes=CLASSES, blocks=(1, 1)).train()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    generator = torch.Generator().manual_seed(0)
    for _ in range(40):
        noise = (torch.rand(images.shape, generator=generator) - 0.5) * 0.3
        loss = nn.functional.cross_entropy(net((images + noise).clamp(0, 1)), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return net.eval().requires_grad_(False)


def bars_task(norm="Linf", eps=None) -> AttackInputs:
    test = dataset(n=384, classes=CLASSES).test.take(np.arange(32))
    return task_of(to_float(test.images), test.labels, norm=norm, eps=eps)


class Quantised(nn.Module):
    def forward(self, x):
        return (x * 4).round() / 4


class StraightThrough(nn.Module):
    """Rounds as an int8 engine does; its gradient is the twin's."""

    def forward(self, x):
        return x + ((x * 255).round() / 255 - x).detach()


class WrongWay(nn.Module):
    def forward(self, x):
        return 2 * x.detach() - x


class Scaled(nn.Module):
    def forward(self, logits):
        return logits * 1e4


class Noisy(nn.Module):
    def __init__(self, size) -> None:
        super().__init__()
        self.size, self.generator = size, torch.Generator().manual_seed(0)

    def forward(self, x):
        return x + self.size * torch.randn(x.shape, generator=self.generator)


class Stubborn(nn.Module):
    """One class wins by far, whatever the image; gradients are honest."""

    def forward(self, logits):
        return logits + 1e3 * nn.functional.one_hot(torch.tensor(0), logits.shape[1])


def names(flags) -> set[str]:
    return {flag.id for flag in flags}


def raised(*layers, inputs=None, **given):
    return raise_flags(TorchClassifier(nn.Sequential(*layers)), inputs or bars_task(), **given)


MASKED = {
    "randomised-output": (lambda: (Noisy(0.05), honest()), {"randomised-output"}),
    "softmax-output": (lambda: (honest(), nn.Softmax(1)), {"softmax-output"}),
    "zero-gradients": (
        lambda: (Quantised(), honest()),
        {"zero-gradients", "noise-as-strong-as-pgd", "query-attack-beats-white-box", "robust-at-any-radius"},
    ),
    "saturated-logits": (lambda: (honest(), Scaled()), {"saturated-logits"}),
    "gradients that point the wrong way": (
        lambda: (WrongWay(), honest()),
        {
            "descent-fools",
            "loss-falls",
            "noise-as-strong-as-pgd",
            "query-attack-beats-white-box",
            "robust-at-any-radius",
        },
    ),
}


@pytest.mark.parametrize("name", MASKED)
def test_a_masked_model_raises_its_flags_and_no_other(name):
    """Catches a probe that sees nothing, one that is never asked, and one that sees everything."""
    layers, expected = MASKED[name]
    flags = raised(*layers())
    assert names(flags) == expected
    assert all(
        any(letter.isdigit() for letter in flag_words(flag)) and KINDS[flag.id].title in flag_words(flag)
        for flag in flags
    )


def test_noise_that_helps_the_model_is_as_strong_as_pgd_that_does_no_better():
    """Catches a comparison that turns round below zero."""
    assert "noise-as-strong-as-pgd" in names(raised(Quantised(), honest(), inputs=bars_task(eps="64/255")))


@pytest.mark.parametrize("norm", EPS)
def test_an_honest_network_raises_no_flag(norm):
    """Catches a threshold below what an honest network shows; and a probe not told to `after`."""
    heard = []
    assert raised(honest(), inputs=bars_task(norm), after=lambda done, what: heard.append((done, what))) == ()
    assert [done for done, _ in heard] == list(range(1, PROBES + 1))


def test_rounding_with_the_gradient_of_a_twin_raises_no_flag():
    """Catches an int8 engine taken for a masked model."""
    assert raised(StraightThrough(), honest()) == ()


@pytest.mark.parametrize("eps", ["0", "8/255", "1/2550"])
@pytest.mark.parametrize("k", [2, 5])
def test_a_linear_model_raises_no_flag_on_numpy_and_torch_alike(k, eps):
    """Catches a line that means another thing on another library, too few classes, and a ball that is empty."""
    rng = np.random.default_rng(0)
    images, weight = rng.random((40, 1, 4, 4), np.float32), rng.normal(size=(16, k)).astype(np.float32)
    labels = LinearToy(weight).logits(images).argmax(1)
    assert raise_flags(LinearToy(weight), task_of(images, labels, eps=eps)) == ()
    inputs = task_of(torch.from_numpy(images), torch.from_numpy(labels), eps=eps)
    assert raise_flags(LinearToy(torch.from_numpy(weight)), inputs) == ()


def test_numpy_raises_the_flags_that_torch_raises():
    """Catches a probe that only sees on one library."""
    images, labels = np.full((8, 1, 2, 2), 0.5, np.float32), np.zeros(8, np.int64)
    found = raise_flags(LinearToy(np.eye(4, 3, dtype=np.float32) * 0), task_of(images, labels))
    given = torch.from_numpy(images), torch.from_numpy(labels)
    assert found == raise_flags(LinearToy(torch.zeros(4, 3)), task_of(*given))
    assert names(found) == {"zero-gradients", "noise-as-strong-as-pgd", "robust-at-any-radius"}


class Wavering(LinearToy):
    """Its gradient points the wrong way from the seventh to the twentieth time it is asked."""

    def __init__(self, weight) -> None:
        super().__init__(weight)
        self.asked = 0

    def gradient(self, images, cotangent):
        self.asked += 1
        logits, gradient = super().gradient(images, cotangent)
        return logits, -gradient if 7 <= self.asked <= 20 else gradient


def test_images_lost_again_with_more_steps_are_flagged():
    """Catches steps compared by their first and last alone: this attack ends as well as any."""
    rng = np.random.default_rng(0)
    images, weight = rng.random((40, 1, 4, 4), np.float32), rng.normal(size=(16, 2)).astype(np.float32)
    weight -= weight.mean(0)  # so that both classes are as likely and margins small
    inputs = task_of(images, LinearToy(weight).logits(images).argmax(1), eps="16/255")
    (flag,) = raise_flags(Wavering(weight), inputs)
    assert flag.id == "more-steps-fool-fewer"
    assert "of 40 images after 20 steps" in flag_words(flag)


def test_a_model_that_holds_at_any_radius_is_flagged():
    """Catches a large radius that is no larger than the threat model's, and gradients trusted there."""
    inputs = bars_task()
    inputs = replace(inputs, labels=torch.zeros_like(inputs.labels))
    assert names(raised(honest(), Stubborn(), inputs=inputs)) == {"robust-at-any-radius"}


def test_a_model_that_is_always_wrong_gets_as_far_as_its_answers():
    """Catches an attack on no images at all."""
    inputs = bars_task()
    assert raised(honest(), inputs=replace(inputs, labels=(inputs.labels + 1) % CLASSES)) == ()


def test_images_made_elsewhere_are_flagged_where_white_box_attacks_missed_them():
    """Catches transfer counted where white-box attacks succeed as well, and rows matched to the wrong images."""
    inputs = bars_task()
    wrong = torch.arange(len(inputs.labels)) < 4  # no attack looks at these, and their rows fall out
    inputs = replace(inputs, labels=torch.where(wrong, (inputs.labels + 1) % CLASSES, inputs.labels))
    attack = partial(apgd, steps=25, loss=margin_targeted, targets=2)
    images_transfer = attack(TorchClassifier(honest()), inputs)
    assert "transfer-beats-white-box" in names(
        raised(WrongWay(), honest(), inputs=inputs, images_transfer=images_transfer)
    )
    assert raised(honest(), inputs=inputs, images_transfer=images_transfer) == ()


def test_images_made_elsewhere_must_be_of_the_threat_model():
    """Catches a network blamed for images that no attack may use."""
    images, labels = np.full((8, 1, 2, 2), 0.5, np.float32), np.asarray([1] * 8)
    model = LinearToy(np.asarray([[-1, 1, 0]] * 4, np.float32))
    found = raise_flags(model, task_of(images, labels, eps="1/255"), images_transfer=images - 0.6)
    assert names(found) == {"outside-the-ball", "outside-the-range"}


@pytest.mark.parametrize("norm", EPS)
def test_images_within_the_threat_model_pass_and_others_do_not(norm):
    """Catches a tolerance that lets a step too many through, one below float32 rounding, and NaN let through."""
    rng = np.random.default_rng(0)
    images = rng.random((20, 3, 32, 32), np.float32)
    inputs = task_of(images, np.zeros(20, np.int64), norm=norm, eps="0.2")
    inside = random_start(images, eps=inputs.eps, norm=norm, seeds=inputs.seeds(np.arange(20), "noise"))
    step = np.zeros_like(images)
    step[..., 0, 0] = (
        np.float32(inputs.eps) * np.where(images[..., 0, 0] < 0.5, 1, -1) / (1 if norm == "Linf" else 3**0.5)
    )
    assert check_within(inside, inputs) == ()
    assert check_within(np.clip(images + step, 0, 1), inputs) == ()
    middle = replace(inputs, images=np.full_like(images, 0.5))
    too_far = 1.001 * inputs.eps * step / length(step, norm)
    assert names(check_within(middle.images + too_far, middle)) == {"outside-the-ball"}
    edge = replace(inputs, images=np.where(step > 0, 1, 0).astype(np.float32))
    assert names(check_within(edge.images + 0.5 * step, edge)) == {"outside-the-range"}
    assert names(check_within(np.full_like(images, np.nan), inputs)) == {"outside-the-ball", "outside-the-range"}


def rows(*kept):
    def accuracy(held, n=1000):
        return accuracy_from_correct([True] * held + [False] * (n - held))

    return tuple(Row(attack=source, source=source, robust_acc=accuracy(held)) for source, held in kept)


@pytest.mark.parametrize(
    ("kept", "flagged"),
    [
        ((("direct", 500), ("direct", 400), ("query", 398)), False),
        ((("direct", 500), ("direct", 400), ("query", 397)), True),
        ((("replay", 500), ("query", 300)), False),
        ((("query", 500), ("direct", 300)), False),
        ((), False),
    ],
)
def test_queries_that_lower_white_box_attacks_by_more_than_two_in_a_thousand_are_flagged(kept, flagged):
    """Catches another threshold than AutoAttack's, and queries held against no white-box attack."""
    found = list(by_queries(rows(*kept)))
    assert names(found) == ({"query-attack-beats-white-box"} if flagged else set())


GOOD = np.full((2, 1, 2, 2), 0.5, np.float32), np.asarray([0, 2])


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (GOOD[0] + 0.6, GOOD[1], "images range from 1.1 to 1.1: expected"),
        (GOOD[0] - 0.6, GOOD[1], "images range from -0.1"),
        (GOOD[0] * np.nan, GOOD[1], "images hold NaN"),
        ((GOOD[0] * 255).astype(np.uint8), GOOD[1], "images are uint8"),
        (GOOD[0][:, 0], GOOD[1], r"images have the shape \(2, 2, 2\)"),
        (GOOD[0][:0], GOOD[1][:0], r"images have the shape \(0, 1, 2, 2\)"),
        (GOOD[0], GOOD[1] + 1, "labels range from 1 to 3: the model's 3 classes are 0 to 2"),
        (GOOD[0], GOOD[1] - 1, "labels range from -1 to 1"),
        (GOOD[0], GOOD[1][:1], r"labels have the shape \(1,\)"),
        (GOOD[0], GOOD[1] * 1.0, "labels are float64"),
        (GOOD[0] + 1, GOOD[1] + 9, r"2 problems\n  - images range .*\n  - labels range"),
    ],
)
def test_bad_images_and_labels_are_named(images, labels, message):
    """Catches each mistake let through, and one that hides another."""
    check_arrays(*GOOD, classes=3)
    check_arrays(*(torch.from_numpy(each) for each in GOOD), classes=3)
    with pytest.raises(ConfigError, match=message):
        check_arrays(images, labels, classes=3)


class Answering(LinearToy):
    """Gives these logits (2, k) and that gradient."""

    def __init__(self, logits, gradient=GOOD[0]) -> None:
        super().__init__(np.zeros((4, 3), np.float32))
        self.answer, self.slope = np.asarray(logits, np.float32), gradient

    def logits(self, images):
        return self.answer

    def gradient(self, images, cotangent):
        return self.answer, self.slope


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Answering([[0, np.nan, 1], [0, 1, 2]]), "NaN or infinite logits for 1 of 2"),
        (Answering([[0, np.inf, 1], [0, -np.inf, 2]]), "NaN or infinite logits for 2 of 2"),
        (Answering([[0, 1, 2]]), r"shape \(1, 3\) for 2 images: expected \(2, 3\)"),
        (Answering([[0, 1], [2, 3]]), r"shape \(2, 2\)"),
        (Answering([0, 1]), r"shape \(2,\)"),
        (Answering([[0.25, 0.25, 0.5], [0, 0, 1]]), "probabilities"),
        (Answering([[0, 1, 2], [3, 4, 5]], GOOD[0] * np.nan), "NaN or infinite gradients for 2 of 2"),
        (Answering([[0, 1, 2], [3, 4, 5]], GOOD[0][:1]), r"gradients of the shape \(1, 1, 2, 2\)"),
    ],
)
def test_a_model_that_cannot_be_attacked_is_refused(model, message):
    """Catches each fault let through; logits that merely sum to one are no fault."""
    check_classifier(Answering([[0, 1, 2], [3, 4, 5]]), GOOD[0], classes=3)
    check_classifier(Answering([[-1, 1, 1], [3, -4, 2]]), GOOD[0], classes=3)
    with pytest.raises(EngineError, match=message):
        check_classifier(model, GOOD[0], classes=3)


@pytest.mark.parametrize(
    ("noise", "others", "raised"), [(2, 1, True), (2, 2, True), (2, 3, False), (1, 0, False), (0, 5, False)]
)
def test_noise_that_fools_as_many_as_the_attacks_is_a_doubt(noise, others, raised):
    """Catches an attack that is no better than guessing, and a doubt because of one image."""
    found = rows(("noise", 900 - noise), ("direct", 900 - noise - others))
    assert [flag.id for flag in by_noise(found, 900)] == ["noise-fools-as-many"] * raised
    assert flags_of_rows(found, 900) == tuple(by_noise(found, 900))
    assert flags_of_rows(found[1:], 900) == ()

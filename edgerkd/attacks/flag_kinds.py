"""Every kind of flag and notice: its id, which reports store, and the template of its words.

Sources of the doubts: see attacks/flags.py, whose probes raise most of them.
"""

import math
from dataclasses import dataclass

from edgerkd.core.flag import Fact, Flag


@dataclass(frozen=True, slots=True, kw_only=True)
class FlagKind:
    """`words` is a template over the facts, as str.format has it; `title` goes before it, unless empty."""

    id: str
    title: str
    words: str

    def raised(self, **facts: Fact) -> Flag:
        """A flag of this kind. What is no number in JSON is kept as text."""
        kept = {
            name: str(value) if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in facts.items()
        }
        return Flag(id=self.id, facts=kept)


RANDOMISED = FlagKind(
    id="randomised-output",
    title="randomised output",
    words="{calls} calls on the same images give logits up to {spread:.2g} apart, of a range of {size:.2g}: "
    "attacks that see each random draw once are too weak, average over draws (EOT)",
)
SOFTMAX = FlagKind(
    id="softmax-output",
    title="softmax output",
    words="all outputs are at least 0 and sum to 1 on each of {n} images: they are "
    "probabilities, and losses made for logits have hardly a gradient on them",
)
ZERO_GRADIENTS = FlagKind(
    id="zero-gradients",
    title="zero gradients",
    words="{zero} of {n} images have a gradient of exactly zero: white-box attacks cannot move "
    "them, only queries and transfer can",
)
SATURATED = FlagKind(
    id="saturated-logits",
    title="saturated logits",
    words="the softmax rounds to 1 on {saturated:.0%} of the images, and PGD on cross-entropy fools "
    "{plain} of {n} images but {cooled} once logits are divided by {temperature:.3g}: "
    "cross-entropy has no gradient left, attack the margin or DLR",
)
WEAKER = FlagKind(
    id="more-steps-fool-fewer",
    title="more steps, weaker attack",
    words="PGD fools {many} of {n} images after {steps} steps, and {few} after {fewer_steps}: "
    "the gradients do not point where the model errs",
)
LOSS_FALLS = FlagKind(
    id="loss-falls",
    title="more steps, weaker attack",
    words="PGD's own loss falls in {steps} steps on {fell} of {n} images: "
    "the gradients do not point where the model errs",
)
NOISE = FlagKind(
    id="noise-as-strong-as-pgd",
    title="noise as strong as PGD",
    words="random noise of the same radius raises the loss by {noise:.3g} on average and {steps} "
    "steps of PGD by {pgd:.3g}: the gradients hold little that random guesses do not",
)
NOISE_FOOLS = FlagKind(
    id="noise-fools-as-many",
    title="noise fools as many as the attacks",
    words="random points of the ball fool {noise} of {n} images and all attacks together {attacks} more: the attacks "
    "find little that guessing does not",
)
REPEATED = FlagKind(
    id="repeated-images",
    title="",
    words="left out: {repeated} of the images {whose}, too near to another one to count beside it, or like so many "
    "that they were not told apart; {n} are left",
)
QUERIES_GO_FURTHER = FlagKind(
    id="query-attack-beats-white-box",
    title="query attack beats white-box",
    words="{attack}, which sees no gradient, fools {fooled} of {n} images that the white-box "
    "attacks could not: the gradients mislead them, and the figure is too high",
)
STRONGER_GOES_FURTHER = FlagKind(
    id="stronger-attack-goes-further",
    title="a stronger attack goes further",
    words="{steps} steps of APGD fool {fooled} of {n} images that the "
    "attacks asked for left standing: ask for a stronger one, such as autoattack",
)
TRANSFER = FlagKind(
    id="transfer-beats-white-box",
    title="transfer beats white-box",
    words="images made against another network fool {fooled} of {n} images that the "
    "white-box attacks could not: the gradients mislead them",
)
ANY_RADIUS = FlagKind(
    id="robust-at-any-radius",
    title="robust at any radius",
    words="{held} of {n} images resist PGD of radius {eps:.3g} in {norm}, and plain "
    "grey, which is within it, fools {by_grey} of them: the attack is blind to these, the model to the "
    "rest",
)
OUTSIDE_BALL = FlagKind(
    id="outside-the-ball",
    title="outside the ball",
    words="{far} of {n} adversarial images are further than eps {eps:g} from their "
    "clean image, by up to {furthest:g} in {norm}: the attack is not of this threat model",
)
OUTSIDE_RANGE = FlagKind(
    id="outside-the-range",
    title="outside the range",
    words="{out} of {n} adversarial images leave [0, 1], reaching {low:g} to {high:g}: they are no images",
)
TOO_FEW_CLASSES = FlagKind(
    id="too-few-classes",
    title="",
    words="the DLR losses need {needed} classes and there are {classes}: margins stand in for them",
)
OVER_REPORTS = FlagKind(
    id="over-reports",
    title="",
    words="{name} alone over-reports: use --attack autoattack before you believe the figure",
)
TWIN_STRAYS = FlagKind(
    id="gradients-astray-in-the-attack",
    title="gradients astray",
    words="of {points} gradients that the attacks were given, {disagreeing} do not tell how the engine's answers "
    "change there, {flat} lie where nothing changes, and the correlation of random slopes is {correlation:.2f}: the "
    "attacks were led astray",
)
OTHER_LATER = FlagKind(
    id="other-answers-later",
    title="other answers later",
    words="images, those of the attacks among them, shown again one to three at a time, give logits up to "
    "{difference:.2g} apart, where {limit:.2g} is expected: what was attacked is not what answers alone",
)
WHOLE_PIXELS = FlagKind(
    id="other-answers-on-whole-pixels",
    title="other answers on whole pixels",
    words="rounded to whole pixel values, as a camera gives them, {jumped} of {n} images of the attacks get quite "
    "other logits: what was attacked is not what sees pictures",
)
RESCALED = FlagKind(
    id="logits-rescaled",
    title="logits rescaled",
    words="in the attacks the logits have {ratio:.2g} times the spread that they have on clean images: the losses "
    "follow their size, and not which is the largest",
)
SMALLER_RADIUS = FlagKind(
    id="smaller-radius-fools-more",
    title="a smaller radius goes further",
    words="at {share:.2g} of the radius PGD fools {fooled} of {n} images that the attacks left standing, and all that "
    "it finds is within the ball",
)
PLAIN_CHANGES = FlagKind(
    id="plain-changes-fool",
    title="plain changes fool",
    words="{what}, within the radius, fool {fooled} of {n} images that the attacks left standing: the model is another "
    "one there, where attacks do not go",
)
DESCENT_FOOLS = FlagKind(
    id="descent-fools",
    title="a descent fools",
    words="{steps} steps that lower the attacks' own loss fool {fooled} of {n} images: it does not tell how near the "
    "model is to an error, and attacks that raise it go the wrong way",
)
SURER_NEAR_ERRORS = FlagKind(
    id="surer-near-errors",
    title="surer near its errors",
    words="on the way from one image to another the model is surer just before its answer changes than at the image "
    "on {surer} of {n} ways: its scores lead attacks away from its errors",
)
KNOWS_IMAGES = FlagKind(
    id="knows-these-images",
    title="it knows these images",
    words="PGD fools {before} of {n} images and {after} of the same with a little of another of their class mixed in: "
    "the model is another one at the images that it is judged by",
)
RISES = FlagKind(
    id="rises-with-radius",
    title="",
    words="{network}: robust accuracy rises from {before:.1%} at {eps_before} to {after:.1%} at {eps_after}: the "
    "larger ball holds the smaller one, so the attack is too weak there: take a stronger one",
)

MODEL_UNKNOWN = FlagKind(
    id="model-unknown",
    title="",
    words="whether the engine differs from the model on these {n} images is not known: nothing here runs the model's "
    "float32 graph",
)
OTHER_PRECISION = FlagKind(
    id="other-precision",
    title="precision",
    words="the engine computes in {precision} (variant {variant}), the model in float32",
)
OTHER_BUILD = FlagKind(
    id="other-build",
    title="fallback",
    words="the build that was preferred failed: {reason}",
)
OTHER_BACKEND = FlagKind(
    id="other-backend",
    title="fallback",
    words="{used} runs the engine, because {backend} does not work here",
)
OTHER_INPUT = FlagKind(
    id="other-input",
    title="preprocessing",
    words="given images {way}, the engine answers as the model does without that: its images are prepared otherwise",
)
NEARER = FlagKind(
    id="smaller-radius",
    title="",
    words="the radius {eps} is below the bundle's {bundle}: this says less than the bundle was made for",
)
STORED = FlagKind(
    id="images-of-the-bundle",
    title="",
    words="{stored} of the images brought are within the radius of images in the bundle, which its maker has seen: "
    "they are not counted, {n} are left",
)
NO_HALF = FlagKind(
    id="no-half-here",
    title="",
    words="on this {machine} processor {backend} computes fp16 in float32, with rounded weights: what a device that "
    "computes in half makes of this graph is not known from it",
)
UNSTEADY = FlagKind(
    id="unsteady-latency",
    title="latency",
    words="{reason} while it was measured: it cannot be held against a limit",
)
UNMEASURED = FlagKind(
    id="limit-not-measured",
    title="limit",
    words="{limits} cannot be measured here, by {backend} on this machine, and a limit is asked for",
)
OTHER_NETWORK = FlagKind(
    id="another-network",
    title="another network",
    words="the bundle's float32 model is not what is verified as {variant}: on its {n} stored images their logits are "
    "{difference:.2g} of their size apart, where {precision} explains {limit:.2g}, and {leaps} answers are others by "
    "more than twice that: what the engine retains of that model says nothing",
)

KINDS: dict[str, FlagKind] = {
    kind.id: kind
    for kind in (
        *(RANDOMISED, SOFTMAX, ZERO_GRADIENTS, SATURATED, WEAKER, LOSS_FALLS, NOISE, NOISE_FOOLS, QUERIES_GO_FURTHER),
        *(STRONGER_GOES_FURTHER, TRANSFER, ANY_RADIUS, OUTSIDE_BALL, OUTSIDE_RANGE),
        *(TWIN_STRAYS, OTHER_LATER, WHOLE_PIXELS, RESCALED, SMALLER_RADIUS, PLAIN_CHANGES),
        *(DESCENT_FOOLS, SURER_NEAR_ERRORS, KNOWS_IMAGES),
        *(TOO_FEW_CLASSES, OVER_REPORTS, RISES, REPEATED),
        *(MODEL_UNKNOWN, OTHER_PRECISION, OTHER_BUILD, OTHER_BACKEND, OTHER_INPUT, NEARER, STORED, NO_HALF, UNSTEADY),
        *(UNMEASURED, OTHER_NETWORK),
    )
}

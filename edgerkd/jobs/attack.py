"""Attack a network on the host: in chunks that survive a kill, by as many processes as torchrun starts."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

import edgerkd.jobs.host  # noqa: F401  first: see there
from edgerkd.attacks.active_set import AttackInputs
from edgerkd.attacks.assess import Outcomes, assess, joined
from edgerkd.attacks.attack import Attack
from edgerkd.attacks.classifier import Classifier
from edgerkd.attacks.eot import Expected
from edgerkd.attacks.flags import PROBES, SAMPLE, all_flags
from edgerkd.attacks.sanity import check_arrays, check_classifier
from edgerkd.attacks.suite import attacks_named
from edgerkd.bundle.samples import Reference, StoredSamples
from edgerkd.core.by_class import by_class
from edgerkd.core.evaluation import Evaluation
from edgerkd.core.flag import Flag
from edgerkd.core.progress import Progress
from edgerkd.core.threat import ThreatModel
from edgerkd.data.dataset import Split, to_float
from edgerkd.jobs.evaluation_state import ChunkStore
from edgerkd.jobs.ranks import ALONE, Ranks
from edgerkd.models.classifier import Bfloat16Classifier, TorchClassifier
from edgerkd.models.cost import cost_of
from edgerkd.models.graph_network import GraphNetwork
from edgerkd.models.hardware import bf16_pays, exact_float32, images_at_once
from edgerkd.models.network import Network


@dataclass(frozen=True, slots=True, kw_only=True)
class Attacked:
    """An evaluation with the images behind it, and the network's answers to them."""

    evaluation: Evaluation
    outcomes: Outcomes
    samples: StoredSamples
    reference: Reference


@exact_float32()
def attack_network(
    network: Network,
    samples: Split,
    *,
    name: str,
    split: str,
    of: int,
    class_names: Sequence[str],
    threat_model: ThreatModel,
    seed: int,
    progress: Progress,
    attack: str = "pgd",
    chunk: int | None = None,
    store: ChunkStore | None = None,
    ranks: Ranks = ALONE,
    probe: bool = False,
    more: tuple[Attack, ...] = (),
    eot: int = 1,
    exact: bool = True,
) -> Attacked:
    """Clean accuracy and the attacks that `attack` names, in float32, on all of `samples`, of `split`, which has `of`.

    Unless `exact`, gradients are computed in bfloat16 where that is faster; an image counts as fooled by the answer in
    float32 alone. Each attack goes at the images that those before it left. A chunk of images is attacked together, is
    what a stopped evaluation repeats, and what `ranks` share out, who all return the whole. With `store`, finished
    chunks are kept there and taken from there. `more` attacks follow those named. `eot` above 1 attacks the mean
    of so many calls, for networks that answer at random. With `probe` the first rank looks for signs that the
    attacks were blind (attacks/flags.py). Raises
    UnknownNameError, ConfigError for images or labels that make no sense, EngineError for a network that
    answers NaN, probabilities or a wrong shape.
    """
    network = network.to(ranks.device).eval().requires_grad_(False)
    classifier = TorchClassifier(network) if eot == 1 else Expected(TorchClassifier(network), eot)
    led = leads_in_bfloat16(network, ranks.device, exact=exact, eot=eot)
    samples = samples.to(ranks.device)
    images, classes = to_float(samples.images), network.architecture.classes
    chunk = chunk or images_at_once(samples.image_shape)
    attacks, notices = attacks_named(attack, classes=classes)
    attacks = (*attacks, *more)
    check_arrays(images, samples.labels, classes=classes)
    check_classifier(classifier, images[:SAMPLE], classes=classes)
    inputs = AttackInputs(
        images=images, labels=samples.labels, threat_model=threat_model, seed=seed, index=samples.index
    )
    work = _Work(
        classifier=Bfloat16Classifier(network) if led else classifier,
        judge=classifier,
        attacks=attacks,
        inputs=inputs,
        chunk=chunk,
        store=store,
        name=name,
        progress=progress,
    )
    found = work.carry_out(ranks)
    flags = work.flags(found) if probe and ranks.first else ()
    evaluation = Evaluation(
        name=name,
        architecture=network.architecture,
        cost=cost_of(network),
        split=split,
        n=len(samples),
        of=of,
        clean_acc=found.clean_acc,
        robust_acc=found.robust_acc,
        by_class=by_class(class_names, samples.labels.tolist(), found.clean, found.robust),
        rows=found.rows(attacks),
        flags=(*notices, *flags),
        threat_model=threat_model,
        seed=seed,
        gradients="bfloat16" if led else "float32",
    )
    return Attacked(
        evaluation=evaluation,
        outcomes=found,
        samples=StoredSamples(
            pixels=samples.images.contiguous().cpu().numpy(),
            images_adv=found.images_adv,
            labels=samples.labels.cpu().numpy(),
            host_robust=found.robust,
        ),
        reference=work.answers(found),
    )


def leads_in_bfloat16(network: Network, device: torch.device, *, exact: bool, eot: int) -> bool:
    """Whether attacks are led by gradients in bfloat16: unless they are to be exact, where torch is faster so."""
    return not exact and eot == 1 and not isinstance(network, GraphNetwork) and bf16_pays(device)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """One network under attack, chunk by chunk: `classifier` leads the attacks, and the answers of `judge` count."""

    classifier: Classifier
    judge: Classifier
    attacks: Sequence[Attack]
    inputs: AttackInputs
    chunk: int
    store: ChunkStore | None
    name: str
    progress: Progress

    def carry_out(self, ranks: Ranks) -> Outcomes:
        """All chunks: those in the store, this rank's share of the others, and the other ranks'."""
        firsts = range(0, len(self.inputs.index), self.chunk)
        if self.store is not None:
            ranks.agree(self.store.digest)
        found = self._stored(firsts)
        if found:
            self.progress.say(
                f"{self.name}: {len(found)} of {len(firsts)} chunks were finished before and are taken from there"
            )
        missing = [first for first in firsts if first not in found]
        ranks.wait()  # so that all ranks share out the same chunks
        found |= self._attacked(missing[ranks.rank :: ranks.world])
        if ranks.world > 1:
            with self.progress.stage("waiting for the other ranks", 0):
                ranks.wait()
            found |= self._stored([first for first in missing if first not in found])
            # None, unless a file of another rank was damaged, or cannot be seen from this machine yet.
            found |= self._attacked([first for first in missing if first not in found])
        return joined([found[first] for first in firsts])

    def flags(self, found: Outcomes) -> tuple[Flag, ...]:
        """Signs that the attacks were blind."""
        generator = np.random.default_rng(self.inputs.seed)
        with self.progress.stage(f"{self.name}: looking for masked gradients", PROBES) as advance:
            return all_flags(self.judge, self.attacks, self.inputs, found, generator=generator, after=advance)

    def answers(self, found: Outcomes) -> Reference:
        """The network's logits for the images, and for what the attacks made of them."""
        images = self.inputs.images
        images_adv = torch.from_numpy(found.images_adv).to(images.device, memory_format=torch.channels_last)
        logits, logits_adv = (
            torch.cat([self.judge.logits(part) for part in batch.split(self.chunk)]).cpu().numpy()
            for batch in (images, images_adv)
        )
        return Reference(logits=logits, logits_adv=logits_adv)

    def _stored(self, firsts: Sequence[int]) -> dict[int, Outcomes]:
        if self.store is None:
            return {}
        sizes = {first: len(self.inputs.index[first : first + self.chunk]) for first in firsts}
        shape = tuple(self.inputs.images.shape[1:])
        loaded = {
            first: self.store.load(first, (size, *shape), attacks=len(self.attacks), say=self.progress.say)
            for first, size in sizes.items()
        }
        return {first: found for first, found in loaded.items() if found is not None}

    def _attacked(self, firsts: Sequence[int]) -> dict[int, Outcomes]:
        """These chunks, attacked one after the other; each goes into the store at once."""
        if not firsts:
            return {}
        found: dict[int, Outcomes] = {}
        every = np.arange(len(self.inputs.index))
        rows = np.concatenate([every[first : first + self.chunk] for first in firsts])
        where = torch.from_numpy(rows).to(self.inputs.images.device)
        part = replace(
            self.inputs,
            images=self.inputs.images[where],
            labels=self.inputs.labels[where],
            index=self.inputs.index[rows],
        )
        with self.progress.stage(f"attacking {self.name}", len(rows) * len(self.attacks)) as advance:
            # Only the last chunk of all may be short, and it is the last of any share: the cuts stay where they were.
            chunks = assess(self.classifier, self.attacks, part, chunk=self.chunk, judge=self.judge, after=advance)
            for first, outcomes in zip(firsts, chunks, strict=True):
                found[first] = outcomes
                if self.store is not None:
                    self.store.save(first, outcomes)
        return found

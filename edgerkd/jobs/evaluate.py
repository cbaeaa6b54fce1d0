"""Attack a network on the host: in chunks that survive a kill, by as many processes as torchrun starts."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import get_args

import numpy as np
import torch

from edgerkd.attacks.assess import Assessment, assess_in_chunks, joined
from edgerkd.attacks.classifier import Classifier
from edgerkd.attacks.eot import Expected
from edgerkd.attacks.flags import PROBES, SAMPLE, all_flags
from edgerkd.attacks.hunt import Task
from edgerkd.attacks.sanity import check_arrays, check_classifier
from edgerkd.attacks.suite import Attack, attacks_named
from edgerkd.bundle.replay import ReplaySet
from edgerkd.core.errors import ConfigError, UnknownNameError
from edgerkd.core.evaluation import Evaluation
from edgerkd.core.progress import Progress, Silent
from edgerkd.core.run import RunFolder
from edgerkd.core.run_record import RunRecord
from edgerkd.core.threat import Norm, ThreatModel
from edgerkd.core.units import Radius
from edgerkd.data.dataset import Split, to_float
from edgerkd.data.load import load_dataset
from edgerkd.distill.adapters import Adapters
from edgerkd.distill.feature_attack import feature_attack
from edgerkd.files.atomic import sha256_of, write_atomic
from edgerkd.files.decode import decode_json, encode_json
from edgerkd.jobs.evaluation_state import ChunkStore, Say, digest_of
from edgerkd.jobs.ranks import ALONE, Ranks, ranks
from edgerkd.jobs.teacher_cache import teacher_of
from edgerkd.jobs.versions import host_versions
from edgerkd.models.classifier import TorchClassifier
from edgerkd.models.cost import count_cost
from edgerkd.models.hardware import exact_float32
from edgerkd.models.network import Network
from edgerkd.models.store import ARCHITECTURE, WEIGHTS, load_network

SCHEMA = 1
CHUNK = 256  # images attacked together: a chunk is what a stopped evaluation repeats, and what ranks share out


@dataclass(frozen=True, slots=True, kw_only=True)
class Attacked:
    """An evaluation with the images behind it, and the network's answers to them."""

    evaluation: Evaluation
    replay: ReplaySet


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the flags ask for. None: the run's own threat model, all test images."""

    attack: str = "pgd"
    eps: Radius | None = None
    norm: str | None = None
    n: int | None = None
    seed: int = 0
    eot: int = 1
    chunk: int = CHUNK


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A network to be attacked; `sha256` is of its weights and architecture."""

    name: str
    network: Network
    sha256: str


@exact_float32()
def attack_network(
    network: Network,
    split: Split,
    *,
    name: str,
    where: str,
    threat_model: ThreatModel,
    seed: int,
    progress: Progress,
    attack: str = "pgd",
    chunk: int = CHUNK,
    store: ChunkStore | None = None,
    among: Ranks = ALONE,
    say: Say = lambda words: None,
    probe: bool = False,
    more: tuple[Attack, ...] = (),
    eot: int = 1,
) -> Attacked:
    """Clean accuracy and the attacks that `attack` names, in float32, on the whole of `split` (named `where`).

    Each attack goes at the images that those before it left. With `store`, finished chunks are kept there
    and taken from there; `among` several ranks each attacks its share, and all return the whole. `more`
    attacks follow those named. `eot` above 1 attacks the mean of so many calls, for networks that answer
    at random. With
    `probe` the first rank looks for signs that the attacks were blind (attacks/flags.py). Raises
    UnknownNameError, ConfigError for images or labels that make no sense, EngineError for a network that
    answers NaN, probabilities or a wrong shape.
    """
    network = network.to(among.device).eval().requires_grad_(False)
    classifier = TorchClassifier(network) if eot == 1 else Expected(TorchClassifier(network), eot)
    split = split.to(among.device)
    images, n = to_float(split.images), len(split)
    classes = network.architecture.classes
    attacks, notices = attacks_named(attack, threat_model=threat_model, classes=classes)
    attacks = (*attacks, *more)
    check_arrays(images, split.labels, classes=classes)
    check_classifier(classifier, images[:SAMPLE], classes=classes)
    task = Task(images=images, labels=split.labels, threat_model=threat_model, seed=seed, index=np.arange(n))
    work = _Work(
        classifier=classifier, attacks=attacks, task=task, chunk=chunk, store=store, name=name, progress=progress
    )
    found = work.carry_out(among, say)
    flags: tuple[str, ...] = ()
    if probe and among.first:
        with progress.stage(f"{name}: looking for masked gradients", PROBES) as advance:
            flags = all_flags(classifier, attacks, task, found, after=advance)
    images_adv = torch.from_numpy(found.images_adv).to(among.device, memory_format=torch.channels_last)
    logits, logits_adv = (
        torch.cat([classifier.logits(part) for part in batch.split(chunk)]) for batch in (images, images_adv)
    )
    architecture = network.architecture
    evaluation = Evaluation(
        schema=SCHEMA,
        name=name,
        architecture=architecture,
        cost=count_cost(architecture)[0],
        split=where,
        n=n,
        clean_acc=found.clean_acc,
        robust_acc=found.robust_acc,
        rows=found.rows(attacks),
        flags=(*notices, *flags),
        threat_model=threat_model,
        seed=seed,
    )
    return Attacked(
        evaluation=evaluation,
        replay=ReplaySet(
            images=images.contiguous().cpu().numpy(),
            images_adv=found.images_adv,
            labels=split.labels.cpu().numpy(),
            logits=logits.cpu().numpy(),
            logits_adv=logits_adv.cpu().numpy(),
            host_robust=found.robust,
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """One network's chunks."""

    classifier: Classifier
    attacks: Sequence[Attack]
    task: Task
    chunk: int
    store: ChunkStore | None
    name: str
    progress: Progress

    def carry_out(self, among: Ranks, say: Say) -> Assessment:
        """All chunks: those in the store, this rank's share of the others, and the other ranks'."""
        firsts = range(0, len(self.task.index), self.chunk)
        if self.store is not None:
            among.agree(self.store.digest)
        found = self._stored(firsts, say)
        if found:
            say(f"{self.name}: {len(found)} of {len(firsts)} chunks were finished before and are taken from there")
        missing = [first for first in firsts if first not in found]
        among.wait()  # so that all ranks share out the same chunks
        found |= self._attacked(missing[among.rank :: among.world])
        if among.world > 1:
            with self.progress.stage("waiting for the other ranks", 0):
                among.wait()
            found |= self._stored([first for first in missing if first not in found], say)
            # None, unless a file of another rank was damaged, or cannot be seen from this machine yet.
            found |= self._attacked([first for first in missing if first not in found])
        return joined([found[first] for first in firsts])

    def _stored(self, firsts: Sequence[int], say: Say) -> dict[int, Assessment]:
        if self.store is None:
            return {}
        sizes = {first: len(self.task.index[first : first + self.chunk]) for first in firsts}
        shape = tuple(self.task.images.shape[1:])
        loaded = {
            first: self.store.load(first, (size, *shape), attacks=len(self.attacks), say=say)
            for first, size in sizes.items()
        }
        return {first: found for first, found in loaded.items() if found is not None}

    def _attacked(self, firsts: Sequence[int]) -> dict[int, Assessment]:
        """These chunks, attacked one after the other; each goes into the store at once."""
        if not firsts:
            return {}
        found: dict[int, Assessment] = {}

        def done(number: int, part: Assessment) -> None:
            # Only the last chunk of all may be short, and it is the last of any share: the cuts stay where they were.
            first = firsts[number // self.chunk]
            found[first] = part
            if self.store is not None:
                self.store.save(first, part)

        rows = np.concatenate([self.task.index[first : first + self.chunk] for first in firsts])
        where = torch.from_numpy(rows).to(self.task.images.device)
        part = replace(self.task, images=self.task.images[where], labels=self.task.labels[where], index=rows)
        with self.progress.stage(f"attacking {self.name}", len(rows) * len(self.attacks)) as advance:
            assess_in_chunks(self.classifier, self.attacks, part, chunk=self.chunk, after=advance, done=done)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Campaign:
    """The evaluations of one command, which go on where a stopped one with the same flags ended.

    `threat_model` is what the flags and the run say together.
    """

    run: RunFolder
    record: RunRecord
    test: Split
    request: Request
    threat_model: ThreatModel
    among: Ranks
    progress: Progress
    say: Say
    stores: list[ChunkStore] = field(default_factory=list)

    def attack(
        self, subject: Subject, *, eps: Radius | None = None, probe: bool = False, more: tuple[Attack, ...] = ()
    ) -> Attacked:
        """Attack one network on the test images, at another radius if `eps` says so.

        `probe` it for flags, and let `more` attacks follow those that the flags name.
        """
        request = self.request
        threat_model = self.threat_model if eps is None else replace(self.threat_model, eps=eps)
        store = ChunkStore(folder=self.run.evaluations, digest=self._digest(subject, threat_model, more))
        self.stores.append(store)
        return attack_network(
            subject.network,
            self.test,
            name=subject.name,
            where="test",
            threat_model=threat_model,
            seed=request.seed,
            progress=self.progress,
            attack=request.attack,
            chunk=request.chunk,
            store=store,
            among=self.among,
            say=self.say,
            probe=probe,
            more=more,
            eot=request.eot,
        )

    def finish(self, files: dict[Path, str]) -> None:
        """Write the results, then forget the chunks. Only the first rank does so, when no other needs them."""
        if self.among.first:
            for path, content in files.items():
                write_atomic(path, content)
        self.among.wait()
        if self.among.first:
            for store in self.stores:
                store.clear()

    def _digest(self, subject: Subject, threat_model: ThreatModel, more: tuple[Attack, ...]) -> str:
        return digest_of(
            {
                "network": subject.sha256,
                "data": self.record.data_sha256,
                "split": "test",
                "n": len(self.test),
                "norm": threat_model.norm,
                "eps": str(threat_model.eps),
                "attack": self.request.attack,
                "more": {attack.name: [self.record.teacher_sha256, sha256_of(self.run.adapters)] for attack in more},
                "seed": self.request.seed,
                "eot": self.request.eot,
                "chunk": self.request.chunk,
                "device": self.among.device.type,
                "versions": host_versions(),
            }
        )


def begin(run: RunFolder, request: Request, *, among: Ranks, progress: Progress, say: Say) -> Campaign:
    """Read what an evaluation of `run` needs.

    Raises ConfigError where the flags do not go together, or the data are no longer the run's.
    """
    record = decode_json(RunRecord, run.recipe)
    threat_model = requested_threat_model(record.recipe.threat_model, request)
    dataset = load_dataset(record.data)
    if dataset.sha256 != record.data_sha256:
        raise ConfigError(
            f"{run.recipe}: the data {record.data!r} are no longer those the student was trained on: "
            "what it is tested on may be what it learned from"
        )
    # Here, before the work begins: an unknown attack should not wait for the other ranks.
    attacks_named(request.attack, threat_model=threat_model, classes=dataset.classes)
    return Campaign(
        run=run,
        record=record,
        test=dataset.test if request.n is None else dataset.test.head(request.n),
        request=request,
        threat_model=threat_model,
        among=among,
        progress=progress if among.first else Silent(),
        say=say if among.first else lambda words: None,
    )


def requested_threat_model(own: ThreatModel, request: Request) -> ThreatModel:
    """The run's threat model with what the flags change. Raises ConfigError, UnknownNameError."""
    norm = own.norm if request.norm is None else _norm(request.norm)
    if norm != own.norm and request.eps is None:
        raise ConfigError(f"--norm {norm} needs --eps: the run's {own.eps} is a radius in {own.norm}")
    return ThreatModel(norm=norm, eps=own.eps if request.eps is None else request.eps)


def _norm(text: str) -> Norm:
    known: tuple[Norm, ...] = get_args(Norm)
    for norm in known:
        if norm.lower() == text.lower():
            return norm
    raise UnknownNameError("norm", text, known)


def subject_in(folder: Path, name: str) -> Subject:
    """The network in `folder`. Raises ArtefactError."""
    network = load_network(folder)
    sha256 = digest_of({file: sha256_of(folder / file) for file in (WEIGHTS, ARCHITECTURE)})
    return Subject(name=name, network=network, sha256=sha256)


def evaluate_run(
    run: RunFolder, request: Request, *, progress: Progress, say: Say = lambda words: None
) -> Evaluation | None:
    """Attack a run's student on its test images and write evaluation.json.

    Under torchrun the first process returns the evaluation, the others None.
    """
    with ranks() as among:
        campaign = begin(run, request, among=among, progress=progress, say=say)
        student = subject_in(run.trained, "student")
        more = _at_features(campaign, student)
        evaluation = campaign.attack(student, probe=True, more=more).evaluation
        campaign.finish({run.evaluation: encode_json(evaluation)})
    return evaluation if among.first else None


def _at_features(campaign: Campaign, student: Subject) -> tuple[Attack, ...]:
    """The attack on what was distilled, where the run kept its adapters and its teacher is still there."""
    run, record, device = campaign.run, campaign.record, campaign.among.device
    if not run.adapters.exists() or record.teacher is None:
        return ()
    try:
        teacher = teacher_of(record)
    except ConfigError as e:
        campaign.say(f"the student's features are not attacked: {e}")
        return ()
    adapters = Adapters.load(run.adapters, student.network.architecture, teacher.architecture).to(device)
    teacher, network = (net.to(device).eval().requires_grad_(False) for net in (teacher, student.network))
    return (feature_attack(network, teacher, adapters, campaign.threat_model),)

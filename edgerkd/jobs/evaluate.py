"""`edgerkd evaluate`: attack a run's student, and go on where a stopped evaluation with the same flags ended."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from edgerkd.attacks.attack import Attack
from edgerkd.attacks.suite import ATTACKS, attacks_named
from edgerkd.core.errors import ConfigError, EdgerkdError
from edgerkd.core.evaluation import Evaluation
from edgerkd.core.progress import Progress, Silent
from edgerkd.core.run import RunFolder
from edgerkd.core.run_record import RunRecord
from edgerkd.core.threat import ThreatModel, load_norm
from edgerkd.core.units import Radius
from edgerkd.data.dataset import Dataset, Split
from edgerkd.distill.adapters import Adapters
from edgerkd.distill.feature_attack import feature_attack
from edgerkd.files.atomic import check_writable, sha256_of, write_atomic
from edgerkd.files.decode import decode_json, encode_json
from edgerkd.files.paths import shown
from edgerkd.jobs.attack import Attacked, attack_network, leads_in_bfloat16
from edgerkd.jobs.data import reopen_data
from edgerkd.jobs.evaluation_state import ChunkStore, digest_of, store_of
from edgerkd.jobs.ranks import Ranks, open_ranks
from edgerkd.jobs.teacher_cache import teacher_of
from edgerkd.models.graph_network import GraphNetwork
from edgerkd.models.network import Network
from edgerkd.models.store import ARCHITECTURE, load_network, weights_file


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the flags ask for. None: the run's own threat model, all test images."""

    attack: str = "pgd"
    eps: Radius | None = None
    norm: str | None = None
    n: int | None = None
    seed: int = 0
    eot: int = 1
    chunk: int | None = None
    exact: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A network to be attacked; `sha256` is of its weights and architecture."""

    name: str
    network: Network
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Campaign:
    """The evaluations of one command, which go on where a stopped one with the same flags ended.

    `test` are the images drawn for it; `threat_model` is what the flags and the run say together.
    """

    run: RunFolder
    record: RunRecord
    dataset: Dataset
    test: Split
    request: Request
    threat_model: ThreatModel
    ranks: Ranks
    progress: Progress
    stores: list[ChunkStore] = field(default_factory=list)

    def attack(
        self, subject: Subject, *, eps: Radius | None = None, probe: bool = False, more: tuple[Attack, ...] = ()
    ) -> Attacked:
        """Attack one network on the test images, at another radius if `eps` says so.

        `probe` it for flags, and let `more` attacks follow those that the flags name.
        """
        request = self.request
        threat_model = self.threat_model if eps is None else replace(self.threat_model, eps=eps)
        store = self._store(subject, threat_model, more)
        self.stores.append(store)
        return attack_network(
            subject.network,
            self.test,
            name=subject.name,
            split="test",
            of=len(self.dataset.test),
            class_names=self.dataset.class_names,
            threat_model=threat_model,
            seed=request.seed,
            progress=self.progress,
            attack=request.attack,
            chunk=request.chunk,
            store=store,
            ranks=self.ranks,
            probe=probe,
            more=more,
            eot=request.eot,
            exact=request.exact,
        )

    def finish(self, show: Callable[[], None], files: dict[Path, str]) -> None:
        """Show the results, then write them, then forget the chunks. Only the first rank does so."""
        if self.ranks.first:
            try:
                show()
            finally:
                for path, content in files.items():
                    write_atomic(path, content)
        self.ranks.wait()
        if self.ranks.first:
            for store in self.stores:
                store.clear()

    def _store(self, subject: Subject, threat_model: ThreatModel, more: tuple[Attack, ...]) -> ChunkStore:
        request, device = self.request, self.ranks.device
        return store_of(
            self.run.evaluations,
            network=subject.sha256,
            data=self.record.data.sha256,
            n=len(self.test),
            threat_model=threat_model,
            attack=request.attack,
            seed=request.seed,
            device=device.type,
            more={attack.id: [self.record.teacher_sha256, sha256_of(self.run.adapters)] for attack in more},
            eot=request.eot,
            bfloat16=leads_in_bfloat16(subject.network, device, exact=request.exact, eot=request.eot),
            chunk=request.chunk,
        )


def begin(
    run: RunFolder, request: Request, *, ranks: Ranks, progress: Progress, writes: Sequence[Path] = ()
) -> Campaign:
    """Read what an evaluation of `run` needs, and see that it can write what it will.

    Raises ConfigError where the flags do not go together, or the data are no longer the run's.
    """
    record = decode_json(RunRecord, run.recipe)
    threat_model = requested_threat_model(record.recipe.threat_model, request)
    progress = progress if ranks.first else Silent()
    for path in (*writes, run.evaluations / "chunk"):
        check_writable(path)
    dataset = reopen_data(record.request, record.data.sha256, run.recipe, progress=progress)
    # Here, before the work begins: an unknown attack should not wait for the other ranks.
    attacks_named(request.attack, classes=dataset.classes)
    return Campaign(
        run=run,
        record=record,
        dataset=dataset,
        test=dataset.test.sample(request.n, seed=request.seed),
        request=request,
        threat_model=threat_model,
        ranks=ranks,
        progress=progress,
    )


def requested_threat_model(own: ThreatModel, request: Request) -> ThreatModel:
    """The run's threat model with what the flags change. Raises ConfigError, UnknownNameError."""
    norm = own.norm if request.norm is None else load_norm(request.norm)
    if norm != own.norm and request.eps is None:
        raise ConfigError(f"--norm {norm} needs --eps: the run's {own.eps} is a radius in {own.norm}")
    return ThreatModel(norm=norm, eps=own.eps if request.eps is None else request.eps)


def subject_in(folder: Path, name: str) -> Subject:
    """The network in `folder`. Raises ArtefactError."""
    network = load_network(folder)
    sha256 = digest_of({file: sha256_of(folder / file) for file in (weights_file(network.architecture), ARCHITECTURE)})
    return Subject(name=name, network=network, sha256=sha256)


def evaluate_run(
    run: RunFolder, request: Request, *, progress: Progress, show: Callable[[Evaluation], None] = lambda found: None
) -> Evaluation | None:
    """Attack a run's student on its test images, show the result and write evaluation.json.

    One that is kept there and says more (`_stays`) is not replaced. Under torchrun the first process returns the
    evaluation, the others None.
    """
    with open_ranks() as ranks:
        campaign = begin(run, request, ranks=ranks, progress=progress, writes=[run.evaluation])
        stays = ranks.first and _stays(campaign)
        student = subject_in(run.trained, "student")
        more = _at_features(campaign, student)
        evaluation = campaign.attack(student, probe=True, more=more).evaluation
        files = {} if stays else {run.evaluation: encode_json(evaluation)}
        campaign.finish(lambda: show(evaluation), files)
    return evaluation if ranks.first else None


def _stays(campaign: Campaign) -> bool:
    """Whether the evaluation that the run has says more than this one will, which is said before there is work.

    One within the run's own threat model counts before others, then one by attacks that are evidence, then one of more
    images.
    """
    path, own = campaign.run.evaluation, campaign.record.recipe.threat_model
    try:
        kept = decode_json(Evaluation, path)
    except EdgerkdError:  # none, or one that cannot be read
        return False
    attacks, _ = attacks_named(campaign.request.attack, classes=campaign.dataset.classes)
    now = (campaign.threat_model == own, _strength(attack.id for attack in attacks), len(campaign.test))
    before = (kept.threat_model == own, _strength(row.attack for row in kept.rows), kept.n)
    if now >= before:
        return False
    campaign.progress.say(
        f"note: this will be shown and not kept, for {shown(path)} says more: {kept.n} images, {kept.threat_model}, "
        f"{', '.join(row.attack for row in kept.rows)}. Move it away to keep another one."
    )
    return True


def _strength(attacks: Iterable[str]) -> int:
    """How much evidence the strongest of these attacks is."""
    known = [ATTACKS[attack].evidence for attack in attacks if attack in ATTACKS]
    return max((("none", "little", "good").index(each) for each in known), default=0)


def _at_features(campaign: Campaign, student: Subject) -> tuple[Attack, ...]:
    """The attack on what was distilled, where the run kept its adapters and its teacher is still there."""
    run, record, device = campaign.run, campaign.record, campaign.ranks.device
    if not run.adapters.exists() or record.teacher is None:
        return ()
    try:
        teacher = teacher_of(record)
    except ConfigError as e:
        campaign.progress.say(f"The student's features are not attacked: {e}")
        return ()
    if isinstance(teacher, GraphNetwork):
        campaign.progress.say(
            f"The student's features are not attacked: the teacher's ({teacher.architecture}) have no gradient"
        )
        return ()
    adapters = Adapters.load(run.adapters, student.network, teacher).to(device)
    teacher, network = (net.to(device).eval().requires_grad_(False) for net in (teacher, student.network))
    return (feature_attack(network, teacher, adapters),)

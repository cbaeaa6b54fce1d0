"""The students that fit, the one chosen, and why."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

from edgerkd.core.architecture import LARGE, LIBRARIES, Architecture, Cost, load_family
from edgerkd.core.budget import Violation, limits, violations
from edgerkd.core.errors import BudgetError, ConfigError, ExportError
from edgerkd.core.profile import Budget, Profile
from edgerkd.core.record import Record
from edgerkd.core.units import format_count
from edgerkd.graphs.twin import gradient_twin
from edgerkd.models.build import build
from edgerkd.models.cost import count_cost
from edgerkd.models.library import check_library_name
from edgerkd.models.onnx_graph import onnx_from_network
from edgerkd.plan.latency import predict_latency_ms

_WIDTHS = (8, 16, 24, 32, 48, 64)  # multiples of 8: TensorRT pads channels to that in any case
_GROWTHS = ((1, 1, 1), (1, 1.5, 2), (1, 2, 4))  # of the width from stage to stage
_GROWTHS_LARGE = ((1, 1, 1, 1, 1), (1, 1.5, 2, 4, 8), (1, 2, 4, 8, 16))  # of large images, down to a 32nd of their size
_BLOCKS = (1, 2, 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate(Record):
    """One student with its cost and the limits it breaks."""

    architecture: Architecture
    cost: Cost
    violations: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan(Record):
    """All candidates, the largest first, and the one chosen."""

    profile: str
    teacher: Cost | None
    chosen: Candidate
    candidates: tuple[Candidate, ...]


def plan_student(profile: Profile, like: Architecture, teacher: Cost | None, family: str = "resnet") -> Plan:
    """The largest student of the family, by MACs and then parameters, that keeps the profile's budget.

    It takes the images of `like`, and has its classes and normalisation: of the teacher, where there is one. Without
    a `teacher` the profile's share of one limits nothing. `family` is one of ours, or a library's network, as
    `torchvision:NAME`. The largest, because robustness costs capacity (Madry et al. 2018, section 4). Raises
    UnknownNameError for the family, ConfigError for a library's network that does not take such images or could not be
    exported, BudgetError where none fits, with each limit the smallest student breaks.
    """
    candidates: list[Candidate] = []
    smallest: tuple[Cost, tuple[Violation, ...]] | None = None
    for architecture in _students(like, family):
        cost, layers = count_cost(architecture)
        cost = replace(cost, latency_ms=predict_latency_ms(cost, layers, profile.device))
        broken = violations(profile.budget, cost, teacher)
        if smallest is None or cost.macs < smallest[0].macs:
            smallest = cost, broken
        candidates.append(Candidate(architecture=architecture, cost=cost, violations=tuple(map(str, broken))))
    candidates.sort(key=lambda c: (c.cost.macs, c.cost.params), reverse=True)
    fitting = [c for c in candidates if not c.violations]
    if not fitting:
        assert smallest is not None
        lines = "\n".join(f"  - {violation}" for violation in smallest[1])
        raise BudgetError(
            f"profile {profile.name}: no {family} fits; the smallest of {len(candidates)} still breaks\n{lines}\n"
            f"{_cure(profile.budget, smallest[1], teacher)}"
        )
    return Plan(profile=profile.name, teacher=teacher, chosen=fitting[0], candidates=tuple(candidates))


def _cure(budget: Budget, broken: Sequence[Violation], teacher: Cost | None) -> str:
    """What to change, and where a limit is a share of the teacher, that it is."""
    own = [each.limit for each in broken if limits(budget).get(each.limit) != each.required]
    if teacher is None or budget.teacher_share is None or not own:
        return "raise these limits in [budget] of the profile, or choose another --family"
    share = f"{100 * budget.teacher_share:g}%"
    return (
        f"of these {', '.join(own)}: {share} of the teacher's, which has {teacher.params:,} parameters and "
        f"{teacher.macs:,} multiply-adds: raise teacher_share in [budget] of the profile, or name a larger --teacher; "
        "raise what else is there, or choose another --family"
    )


def check_family(name: str) -> None:
    """Raises UnknownNameError where no students are planned under this name."""
    if name.startswith(LIBRARIES):
        check_library_name(name)
    else:
        load_family(name)


def warning(plan: Plan) -> str | None:
    """One line where the chosen student has more parameters than its teacher, else None."""
    if plan.teacher is None or plan.chosen.cost.params <= plan.teacher.params:
        return None
    student, teacher = plan.chosen.cost.params, plan.teacher.params
    return (
        f"warning: the student {plan.chosen.architecture} has more parameters ({format_count(student)}) than its "
        f"teacher ({format_count(teacher)}): lower [budget] of {plan.profile}, or name a larger --teacher"
    )


def _students(like: Architecture, family: str) -> list[Architecture]:
    """The search space: networks of the family for the same images; a library's network is as it is."""
    if family.startswith(LIBRARIES):
        student = replace(like, family="library", library=family, widths=(), blocks=())
        try:
            gradient_twin(onnx_from_network(build(student)))
        except (ConfigError, ExportError) as e:
            raise ConfigError(f"--family {family}: no student for images {like.image_shape}: {e}") from e
        return [student]
    kind = load_family(family)
    growths = _GROWTHS_LARGE if like.height >= LARGE else _GROWTHS
    found: list[Architecture] = []
    for width, growth, blocks in product(_WIDTHS, growths, _BLOCKS):
        widths = tuple(round(width * factor / 8) * 8 for factor in growth)
        found.append(replace(like, family=kind, library=None, widths=widths, blocks=(blocks,) * len(widths)))
    return list(dict.fromkeys(found))

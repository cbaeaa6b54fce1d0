"""`edgerkd plan`: the students that fit a device."""

from typing import Annotated

import typer

from edgerkd.cli.options import Eps, Family, ProfileName, Teacher, radius, with_data
from edgerkd.cli.output import Json, emit_json, note, progress, show_parts
from edgerkd.core.data_request import DataRequest
from edgerkd.core.units import format_count, format_size


@with_data
def plan(
    request: DataRequest,
    profile: ProfileName = "jetson-orin",
    eps: Eps = None,
    teacher: Teacher = None,
    family: Family = "resnet",
    show: Annotated[int, typer.Option("--show", metavar="NUMBER", help="The number of students to list.", min=1)] = 10,
    json: Json = False,
) -> None:
    """Show the students that fit the device's budget, the one that `distill` would choose, and why.

    Nothing is trained: where `distill` would train a teacher first, a few steps tell which one.
    """
    from edgerkd.files.profiles import load_profile
    from edgerkd.jobs.data import open_data
    from edgerkd.jobs.teachers import foreseen_teacher
    from edgerkd.models.cost import cost_of
    from edgerkd.plan.search import check_family, plan_student, warning
    from edgerkd.report.text_table import Table

    check_family(family)
    device = load_profile(profile)
    with progress() as bars:
        dataset, threat_model = open_data(request, eps=radius(eps), progress=bars)
        network, name = foreseen_teacher(teacher, dataset, threat_model, progress=bars)
    cost = cost_of(network)
    found = plan_student(device, network.architecture, cost, family)
    if (line := warning(found)) is not None:
        note(line)
    if json:
        emit_json(found)
        return
    fitting = [candidate for candidate in found.candidates if not candidate.violations]
    rows = [
        (
            "chosen" if candidate == found.chosen else "",
            str(candidate.architecture),
            format_count(candidate.cost.params),
            format_count(candidate.cost.macs),
            format_size(candidate.cost.file_bytes),
            "-" if candidate.cost.latency_ms is None else f"{candidate.cost.latency_ms:.3g}",
        )
        for candidate in fitting[:show]
    ]
    show_parts(
        Table(("", "student", "params", "MACs", "file", "ms (predicted)"), tuple(rows)),
        f"{len(fitting)} of {len(found.candidates)} students fit {found.profile} beside teacher {name} "
        f"({format_count(cost.params)} params, {format_count(cost.macs)} MACs); "
        "the largest that fits is chosen, because robustness needs capacity",
    )

"""How the variants of lower precision were found: each layer's shift, the graphs tried, what an attack left."""

from edgerkd.core.precision import RETENTION, PrecisionSearch
from edgerkd.report.load import Facts
from edgerkd.report.markup import Markup, join, tag
from edgerkd.report.parts import NOTHING, data_table, section
from edgerkd.report.table import Table
from edgerkd.report.words import percent, search_name, search_words, sentence

_HOW = (
    "A rounded network may answer clean images as before and resist less. So layers are ranked by how far each alone, "
    "in the lower precision, moves the margins of adversarial images (root mean square, in logit units); as many stay "
    "in float32 as it takes until such shifts bring few robust images below a margin of zero; and an attack made anew "
    f"on that very graph decides: {percent(RETENTION)} of the robust images must be kept. Where they are not, a "
    "distilled student is trained on with the roundings in place, and attacked again."
)


def precision(facts: Facts) -> Markup:
    """Every search of the bundle that lies in the run's folder."""
    if not facts.searches:
        return NOTHING
    return section("Precision", tag("p", _HOW), *(join(_search(each), "\n") for each in facts.searches))


def _search(found: PrecisionSearch) -> Markup:
    name = search_name(found)
    cost = f"ranking took {found.seconds:.1f} s, attacking it on the host {found.attack_seconds:.1f} s"
    if found.trained_epochs:
        cost += f", training for it {found.training_seconds:.1f} s"
    parts = [tag("h3", name), tag("p", sentence(f"{search_words(found)}; {cost}"))]
    if found.steps:
        rows = tuple((f"{step.kept}", f"{step.shift:.3g}", percent(step.forecast)) for step in found.steps)
        table = Table(("layers in float32", "shift of the others", "robust images lost, forecast"), rows)
        parts.append(data_table(table, f"{name}: graphs that were tried"))
    if found.shifts:
        kept = set(found.float_layers)
        rows = tuple(
            (each.layer, f"{each.shift:.3g}", "float32" if each.layer in kept else found.precision)
            for each in found.shifts
        )
        parts.append(data_table(Table(("layer", "shift, alone", "computed in"), rows), f"{name}: layers"))
    return join(*parts)

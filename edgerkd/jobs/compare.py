"""Two runs' students under the same attacks on the same images."""

from collections.abc import Callable

from edgerkd.core.comparison import Comparison, paired
from edgerkd.core.errors import ConfigError
from edgerkd.core.progress import Progress
from edgerkd.core.run import RunFolder
from edgerkd.core.run_record import RunRecord
from edgerkd.files.decode import decode_json, encode_json
from edgerkd.jobs.evaluate import Request, begin, subject_in
from edgerkd.jobs.ranks import open_ranks


def compare_runs(
    run: RunFolder,
    other: RunFolder,
    request: Request,
    *,
    progress: Progress,
    show: Callable[[Comparison], None] = lambda found: None,
) -> Comparison | None:
    """Attack both students by the first run's threat model, show the result, and write its comparison.json.

    Under torchrun the first process returns the comparison, the others None. Raises ConfigError where
    the two were not made for the same images.
    """
    with open_ranks() as ranks:
        campaign = begin(run, request, ranks=ranks, progress=progress, writes=[run.comparison])
        theirs = decode_json(RunRecord, other.recipe)
        if theirs.data.sha256 != campaign.record.data.sha256:
            raise ConfigError(
                f"--against: {other.path} was trained on {theirs.data.name}, {run.path} on "
                f"{campaign.record.data.name}, and the images differ: only students of the same data can be compared "
                "image by image."
            )
        first, second = (campaign.attack(subject_in(each.trained, each.path.resolve().name)) for each in (run, other))
        found = Comparison(
            first=first.evaluation,
            second=second.evaluation,
            clean=paired(first.outcomes.clean, second.outcomes.clean),
            robust=paired(first.outcomes.robust, second.outcomes.robust),
            flags=(*first.evaluation.flags, *(f for f in second.evaluation.flags if f not in first.evaluation.flags)),
        )
        campaign.finish(lambda: show(found), {run.comparison: encode_json(found)})
    return found if ranks.first else None

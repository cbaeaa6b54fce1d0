"""What a report is drawn from: a run's facts, where its bundle and its verification are as they were signed."""

from dataclasses import replace

from edgerkd.bundle.read import read_bundle
from edgerkd.core.manifest import MANIFEST
from edgerkd.core.run import RunFolder
from edgerkd.report.load import Facts, load_facts, verification_path
from edgerkd.verify.signed_report import check_unchanged
from edgerkd.verify.trust import trust_in


def checked_facts(run: RunFolder) -> Facts:
    """The facts, with who signed the verification.

    Raises as `load_facts` does, and ArtefactError where a file of the bundle is not the one in its manifest, or the
    bundle or the verification is not as it was signed.
    """
    facts = load_facts(run)
    if (run.bundle / MANIFEST).is_file():
        trust_in(read_bundle(run.bundle))
    path = verification_path(run)
    return facts if path is None else replace(facts, signed_by=check_unchanged(path))

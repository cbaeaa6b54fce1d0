"""PGD as if its figure could be believed: verifications by it are quick, and few tests are about the attack."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from edgerkd.attacks.suite import ATTACKS, ENSEMBLES


@contextmanager
def pgd_believed() -> Generator[None]:
    """Meanwhile an engine may pass by PGD alone."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ENSEMBLES["pgd"]:
            patch.setitem(ATTACKS, name, replace(ATTACKS[name], evidence="good"))
        yield

"""Learning rates over a run."""

import pytest

from edgerkd.core.recipe import Recipe
from edgerkd.core.threat import ThreatModel
from edgerkd.core.units import Radius
from edgerkd.distill.schedule import one_cycle, piecewise, rate_share


def test_one_cycle_rises_and_falls_once():
    """Catches a peak that is never reached and an end that is not zero."""
    rates = [one_cycle(p / 100, warmup=0.25) for p in range(101)]
    assert rates[0] == 0
    assert max(rates) == rates[25] == 1
    assert rates[-1] == pytest.approx(0, abs=1e-9)
    assert rates[:26] == sorted(rates[:26])
    assert rates[25:] == sorted(rates[25:], reverse=True)


def test_without_warm_up_the_rate_begins_at_its_peak():
    """Catches a division by zero."""
    assert one_cycle(0.0, warmup=0.0) == 1


def test_a_piecewise_rate_falls_to_a_tenth_at_each_share_and_stays_there():
    """Catches a second decay that begins from the first rate again, as in published code, and an open boundary."""
    rates = [piecewise(p, decay_at=(0.5, 0.75)) for p in (0.0, 0.49, 0.5, 0.74, 0.75, 1.0)]
    assert rates == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])


def test_the_recipe_chooses_the_schedule():
    """Catches a setting that goes nowhere."""
    given = {"method": "standard", "threat_model": ThreatModel(norm="Linf", eps=Radius("8/255")), "epochs": 1}
    assert rate_share(0.6, Recipe(**given, schedule="piecewise")) == pytest.approx(0.1)
    assert rate_share(0.25, Recipe(**given)) == 1

"""AdaAD with indirect gradient matching. Source: IGDM, Lee et al., ICLR 2025, arXiv 2312.03286, on AdaAD."""

from dataclasses import dataclass

from edgerkd.core.ranges import Weight
from edgerkd.core.record import Record
from edgerkd.distill.methods import adaad
from edgerkd.distill.methods.igdm import igdm


@dataclass(frozen=True, slots=True, kw_only=True)
class Options(Record):
    """AdaAD's, and the weight of the gradients."""

    weight_igdm: Weight = 5.0
    """At the end of the run, to which it rises from 0. Source: IGDM (ICLR 2025), CIFAR-10 with an LTD teacher.

    The paper searches it anew for each student, teacher and data: from 5 to 70.
    """


METHOD = igdm(
    adaad.METHOD,
    name="igdm-adaad",
    description="AdaAD, with the student's input gradients matched to the robust teacher's indirectly (IGDM)",
    options=Options,
)

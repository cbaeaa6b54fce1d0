"""RSLAD with indirect gradient matching. Source: IGDM, Lee et al., ICLR 2025, arXiv 2312.03286, on RSLAD."""

from dataclasses import dataclass

from edgerkd.core.ranges import Weight
from edgerkd.distill.methods import rslad
from edgerkd.distill.methods.igdm import igdm


@dataclass(frozen=True, slots=True, kw_only=True)
class Options(rslad.Options):
    """RSLAD's, and the weight of the gradients."""

    weight_igdm: Weight = 0.9
    """At the end of the run, to which it rises from 0. Source: IGDM (ICLR 2025), CIFAR-10 with an LTD teacher."""


METHOD = igdm(
    rslad.METHOD,
    name="igdm-rslad",
    description="RSLAD, with the student's input gradients matched to the robust teacher's indirectly (IGDM)",
    options=Options,
)

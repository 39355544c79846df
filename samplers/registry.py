"""Samplers by name: register one, make one, list them, and read one from a command line.

Packages that declare an entry point in the group `samplers.plugins` are found when a name is looked up, as
degradations are in `degrade.plugins`. On a command line a sampler is its name, and if need be its arguments behind a
colon:

    algorithm2      ddim:eta=0.5      heun:estimate=false      repaint:repeats=3,sampler=ddpm
    algorithm2-fixed                  for algorithm2:estimate=false

An inner sampler with arguments of its own comes last and takes everything that follows it.

>>> parse_sampler("algorithm2-fixed")
Algorithm2(estimate=False)
>>> parse_sampler({"name": "ddim", "arguments": {"eta": 0.5}}) == parse_sampler("ddim:eta=0.5")
True
>>> make_sampler("algorithm2", estimate=False).arguments
{'estimate': False}
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer

from degrade.registry import Registry
from degrade.serializable import Serializable
from samplers.base import Sampler

__all__ = [
    "SAMPLERS",
    "SAMPLER_GROUP",
    "AnySampler",
    "make_sampler",
    "parse_sampler",
    "register_sampler",
    "sampler_names",
]

SAMPLER_GROUP = "samplers.plugins"
FIXED = "-fixed"


class _SamplerRegistry(Registry[Sampler]):
    def parse(self, text: str, **runtime: Any) -> Sampler:
        """Return the sampler that a command line names; `NAME-fixed` stands for `NAME:estimate=false`."""
        name, colon, words = text.partition(":")
        if name.endswith(FIXED):
            name, colon, words = name.removesuffix(FIXED), ":", ",".join(filter(None, ["estimate=false", words]))
        return super().parse(name + colon + words, **runtime)


SAMPLERS = _SamplerRegistry(Sampler, "sampler", SAMPLER_GROUP, "samplers.steps")
register_sampler = SAMPLERS.register
make_sampler = SAMPLERS.make
sampler_names = SAMPLERS.names
parse_sampler = SAMPLERS.from_dict

# The type of an argument that is itself a sampler.
AnySampler = Annotated[Sampler, BeforeValidator(SAMPLERS.from_dict), PlainSerializer(Serializable.to_dict)]

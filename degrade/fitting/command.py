"""The command that fits a degradation to pairs of pictures: `python -m degrade fit`, `degrade-restore fit`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from degrade.command_line import CliPositionalArg, Command, KeyValues, UsageError

if TYPE_CHECKING:
    from degrade.fitting.fit import DegradationFit
    from degrade.fitting.intervals import FittedValue

__all__ = ["FitDegradation"]

Count = Annotated[int, Field(ge=1)]


class FitDegradation(Command):
    """Fit a degradation to pairs of clean and degraded pictures, with its uncertainty.

    The severity is fitted, and with --fit arguments that are floating-point numbers. It prints a table, the command
    that shows the fitted degradation, and all of it as one line of JSON. Noise is in units of images in [-1, 1].
    """

    name: CliPositionalArg[str] = Field(description="name of the degradation; `list` prints all names")
    arguments: CliPositionalArg[KeyValues] = Field({}, description="arguments of the degradation that are known")
    pairs: tuple[str, str] = Field(description="folders or zips of clean and of degraded pictures of the same names")
    fit: KeyValues = Field({}, description="arguments that are fitted, each with bounds: sigmas.sigma=[0.1,10]")
    severity: Count | None = Field(None, description="severity, if it is known (default: it is fitted)")
    images: Count = Field(64, description="largest number of pairs that are used")
    crop: Count | None = Field(None, description="side of the middle square that is used (default: whole pictures)")
    margin: int | None = Field(
        None, ge=0, description="pixels at each border that are not compared (default: an eighth of --crop, else 0)"
    )

    def run(self) -> None:
        """Fit, and print the results."""
        from degrade.fitting.fit import FittingOptions, fit_degradation
        from degrade.fitting.picture_pairs import read_pairs
        from degrade.registry import get

        if self.crop is not None and get(self.name).position_dependent:
            raise UsageError(f"--crop {self.crop}: {self.name} depends on the place in the picture; leave --crop out")
        for name, ends in self.fit.items():
            if not (isinstance(ends, list) and len(ends) == 2):
                raise UsageError(f"--fit {name}={ends}: give bounds, {name}=[low,high]")
        x0, y = read_pairs(Path(self.pairs[0]), Path(self.pairs[1]), self.images, self.crop)
        margin = self.margin if self.margin is not None else (self.crop or 0) // 8
        bounds = {name: tuple(ends) for name, ends in self.fit.items()}
        found = fit_degradation(self.name, x0, y, self.arguments, bounds, FittingOptions(self.severity, margin))
        print("\n".join([*table(found), "", show_command(found, self.arguments), json.dumps(as_json(found))]))


def table(found: DegradationFit) -> list[str]:
    """Return the lines of the table of a fit."""
    rows = {"severity": found.severity, **found.arguments, "noise": found.noise}
    width = max(map(len, rows))
    lines = [f"{'':{width}}  {'value':>12}  {'95 % interval':>25}"]
    for name, value in rows.items():
        interval = f"{_spell(value.low)} .. {_spell(value.high)}"
        lines.append(f"{name:{width}}  {_spell(value.value):>12}  {interval:>25}")
    lines.append(
        f"{found.images} pairs differ by {found.difference:.4g} (root mean square); the fit leaves"
        f" {found.noise.value:.4g}, and a log likelihood of {found.log_likelihood:.4f} for each value"
    )
    return lines + [f"note: {remark}" for remark in found.remarks]


def show_command(found: DegradationFit, known: dict[str, Any]) -> str:
    """Return the command that draws a picture under the fitted degradation."""
    arguments = found.degradation.arguments
    named = dict.fromkeys([*known, *(name.partition(".")[0] for name in found.arguments)])
    words = [f"{name}={_argument(arguments[name])}" for name in named if name in arguments]
    return " ".join(["python -m degrade show", found.degradation.name, *words, "--severity", str(found.severity.value)])


def as_json(found: DegradationFit) -> dict[str, Any]:
    """Return a fit as JSON values; of an interval without an end, that end is null."""
    return {
        "degradation": found.degradation.to_dict(),
        "severity": _values(found.severity),
        "arguments": {name: _values(value) for name, value in found.arguments.items()},
        "noise": _values(found.noise),
        "difference": found.difference,
        "log_likelihood": found.log_likelihood,
        "images": found.images,
        "remarks": list(found.remarks),
    }


def _values(value: FittedValue) -> dict[str, float | None]:
    return {name: end if abs(end) < float("inf") else None for name, end in value._asdict().items()}


def _spell(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.5g}"


def _argument(value: Any) -> str:
    """Return a value as a command line spells it, in quotes where the shell would read it otherwise."""
    text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
    return text if text.replace(".", "").replace("-", "").replace("_", "").isalnum() else f"'{text}'"

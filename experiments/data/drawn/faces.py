"""Drawn human faces: endless portraits that differ in build, skin, hair, mood, beard, glasses and clothes.

Painted back to front: backdrop, hair behind the head, clothes, neck, ears, head, features, hair in front,
glasses.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from experiments.data.drawn.canvas import Canvas, ellipse, lens, union
from experiments.data.drawn.draws import Drawings, Draws
from experiments.data.drawn.hair import HAIRCUTS, back_hair, front_hair
from experiments.data.drawn.scene import backdrop, gaze, pose, shade, tint, tone

SKINS = ("#f5d2ba", "#f3c9aa", "#eebf9b", "#dfa67c", "#cb8d60", "#b0744a", "#8e5a3a", "#764931", "#613c2a")
HAIRS = (  # Dark to light, so that darker skins draw from the beginning of the list.
    "#1d191c", "#2c1d18", "#44291d", "#1f1f2b", "#6b3f25", "#8c4a26",
    "#a8672f", "#c8642b", "#d8a452", "#e9c983", "#d5d2cf", "#d96f98",
)  # fmt: skip
# Brown first, for the same reason.
IRISES = ("#4a2c1a", "#5b3a1e", "#7a5226", "#4f7a4a", "#3d75a8", "#5f8f9a")
CLOTHES = (
    "#d9594c", "#2f6f8f", "#3f8f6b", "#e0a030", "#5a4a8a",
    "#2d3a55", "#f0ece4", "#d97a9a", "#7fb2a0", "#4b4b52",
)  # fmt: skip
EARRINGS = ("#f2c14e", "#f4f1ea", "#4fb0a5", "#e0526a")
FRAMES = ("#2b2326", "#5a2f1f", "#b8862f", "#8a2f3f")


@dataclass(frozen=True)
class DrawnFaces(Drawings):
    """Drawn human faces: `DrawnFaces(64)(8)` is eight portraits, float32 (8, 3, 64, 64) in [-1, 1]."""

    def render(self, draws: Draws) -> Tensor:
        """Return portraits (n, 3, size, size) in [0, 1]."""
        canvas = Canvas.blank(len(draws.rows), self.size, draws.rows.device)
        backdrop(canvas, draws)
        head, body = pose(canvas, draws)
        person = Person.drawn(draws)
        back_hair(head, person.cut, person.hair)
        _clothes(body, draws, person)
        _ears(head, draws, person)
        _head(head, draws, person)
        _nose(head, draws, person)
        _beard(head, draws, person)
        _mouth(head, draws, person)
        _eyes(head, draws, person)
        front_hair(head, person.cut, person.hair, person.width)
        _glasses(head, draws)
        return canvas.pixels


@dataclass(frozen=True)
class Person:
    """What several parts of one face share: sizes (n, 1, 1) and colors (n, 3, 1, 1)."""

    width: Tensor
    chin: Tensor
    skin: Tensor
    hair: Tensor
    iris: Tensor
    cut: dict[str, Tensor]
    softness: Tensor
    """From zero, angular, to one, delicate: brows, lips and jaw follow it."""

    @classmethod
    def drawn(cls, draws: Draws) -> Person:
        """Return people (one for each row of draws)."""
        cut = draws.record(HAIRCUTS)
        skin = draws.color(SKINS)
        fair = skin[:, 1]
        return cls(
            width=draws.between(0.42, 0.485),
            chin=draws.between(0.62, 0.7),
            skin=skin,
            hair=draws.color(HAIRS, reach=(fair * 1.6).clamp(0.35, 1)),
            iris=draws.color(IRISES, reach=(fair * 1.5).clamp(0.5, 1)),
            cut=cut,
            softness=(cut["delicate"] + draws.between(-0.3, 0.3)).clamp(0, 1),
        )


def _clothes(body: Canvas, draws: Draws, person: Person) -> None:
    """Paint neck, shoulders, and a round or pointed neckline."""
    color = draws.color(CLOTHES)
    body = body.part(-1, 0.2, 1, 1)
    x, y = body.x, body.y
    shoulders = ellipse(x, y - 1.27, draws.between(0.68, 0.8), draws.between(0.48, 0.56))
    column = torch.maximum(x.abs() - 0.2 + person.softness * 0.035, (y - 0.6).abs() - 0.25)
    round_neck = ellipse(x, y - 0.76, 0.25, draws.between(0.13, 0.22))
    pointed_neck = (x.abs() + (y - 0.76) * 0.7 - 0.2) * 0.82
    neckline = torch.lerp(round_neck, pointed_neck, draws.chance(0.4))
    body.paint(color * (1.12 - 0.25 * x.abs().unsqueeze(1)), shoulders)
    body.paint(tint(color, 0.35), torch.maximum(neckline - 0.035, shoulders - 0.02))
    neck = torch.minimum(torch.maximum(neckline, shoulders - 0.02), column)
    body.paint(person.skin, neck)
    shadow = ellipse(x, y - person.chin + 0.06, 0.32, 0.22)
    body.paint(shade(person.skin, 0.28), torch.maximum(neck, shadow))


def _ears(head: Canvas, draws: Draws, person: Person) -> None:
    """Paint both ears, unless hair hides them, and earrings on some."""
    part = head.part(-0.75, -0.3, 0.75, 0.35)
    x, y, shown = part.x.abs() - person.width - 0.015, part.y - 0.09, person.cut["ears"]
    part.paint(shade(person.skin, 0.06), ellipse(x, y, 0.075, 0.13), shown)
    part.paint(shade(person.skin, 0.25), ellipse(x + 0.005, y, 0.035, 0.075), shown)
    earring = draws.chance(0.55 * person.softness) * shown
    part.paint(draws.color(EARRINGS), torch.hypot(x, y - 0.15) - 0.035, earring)


def _outline(canvas: Canvas, person: Person) -> Tensor:
    """Return the distance to the outline of a head: a round skull melted into a jaw."""
    skull = ellipse(canvas.x, canvas.y + 0.02, person.width, 0.5)
    height = person.chin - 0.2
    jaw = ellipse(canvas.x, canvas.y - 0.2, person.width * (0.93 - 0.12 * person.softness), height)
    return union(skull, jaw, 0.12)


def _rosy(skin: Tensor) -> Tensor:
    """Return the blushing red of a skin."""
    return skin * tone(0.98, 0.62, 0.6, skin.device)


def _head(head: Canvas, draws: Draws, person: Person) -> None:
    """Paint the head, lit from the upper left, with a blush."""
    part = head.part(-0.75, -0.85, 0.75, 0.85)
    light = (1.01 - 0.09 * part.x - 0.07 * part.y).unsqueeze(1)
    part.paint(person.skin * light, _outline(part, person))
    part = head.part(-0.65, -0.1, 0.65, 0.5)
    cheek = torch.hypot(part.x.abs() - 0.26, (part.y - 0.24) * 1.2) - 0.06
    part.paint(_rosy(person.skin), cheek, draws.between(0.15, 0.55), blur=0.16)


def _nose(head: Canvas, draws: Draws, person: Person) -> None:
    """Paint a shadow on one side of the nose, one under its tip, and a light on it."""
    part = head.part(-0.3, -0.2, 0.3, 0.45)
    x, y = part.x, part.y - draws.between(0.21, 0.25)
    width = draws.between(0.065, 0.085)
    dark = shade(person.skin, 0.22)
    part.paint(dark, ellipse(x - width * 0.65, y + 0.07, width * 0.5, 0.13), 0.4, blur=0.06)
    part.paint(dark, lens(x, y, width, 0.04, 0.02, 0.028))
    part.paint(tint(person.skin, 0.45), ellipse(x + 0.012, y + 0.035, 0.03, 0.03), 0.55, blur=0.03)


def _beard(head: Canvas, draws: Draws, person: Person) -> None:
    """Paint a full beard, stubble or a mustache on some of the people whose haircut allows it."""
    kind = draws.between(0, 1) / person.cut["beard"].clamp(min=1e-6)
    expand_level, mustache = (kind < 0.45).float(), ((kind > 0.7) & (kind < 1)).float()
    stubble = ((kind > 0.45) & (kind < 0.7)).float() * 0.22
    part = head.part(-0.75, -0.1, 0.75, 0.85)
    color = shade(person.hair, 0.08)
    jaw = _outline(part, person) - 0.02 * expand_level
    line = 0.31 - 0.5 * (part.x.abs() / person.width - 0.25).clamp(min=0).square() - part.y
    part.paint(color, torch.maximum(jaw, line), expand_level + stubble, blur=0.02)
    part = head.part(-0.4, 0.05, 0.4, 0.55)
    part.paint(color, lens(part.x, part.y - 0.4, 0.2, -0.09, 0.03, 0.045), mustache)


def _mouth(head: Canvas, draws: Draws, person: Person) -> None:
    """Paint lips, and an open smile with teeth on about half of the people."""
    part = head.part(-0.4, 0.15, 0.4, 0.7)
    x, y = part.x, part.y - draws.between(0.4, 0.43)
    width, bend = draws.between(0.13, 0.18), draws.between(0.025, 0.085)
    opened = draws.chance(0.5) * draws.between(0.045, 0.085) * (bend > 0.04)
    lip = draws.between(0.012, 0.022) + person.softness * 0.014
    color = torch.lerp(shade(person.skin, 0.15), _rosy(person.skin), 0.3 + 0.7 * person.softness.unsqueeze(1))
    part.paint(color, lens(x, y, width + 0.015, bend, lip, opened + lip * 1.4))
    mouth = lens(x, y, width, bend, 0.008, opened + 0.008)
    part.paint(shade(color, 0.62), mouth)
    teeth = torch.maximum(mouth, lens(x, y, width * 0.95, bend, 0.01, opened * 0.55))
    part.paint(torch.full_like(color, 0.97), teeth, (opened > 0).float())


def _eyes(head: Canvas, draws: Draws, person: Person) -> None:
    """Paint the eyes with lids and brows."""
    part = head.part(-0.55, -0.45, 0.55, 0.2)
    apart, size, slant = draws.between(0.195, 0.225), draws.between(0.9, 1.1), draws.between(-0.08, 0.16)
    side = torch.sign(part.x)
    across, down = part.x.abs() - apart, part.y + (part.x.abs() - apart) * slant
    opening = ellipse(across, down, 0.108 * size, draws.between(0.06, 0.076) * size)
    lash = shade(person.skin, 0.75)
    lid = torch.maximum(ellipse(across, down + 0.022, 0.115 * size, 0.088 * size), down - 0.01)
    part.paint(lash, lid, 0.55 + 0.45 * person.softness)
    white = torch.full_like(person.skin, 0.98)
    part.paint(white * (1 - (0.35 - 2.5 * down).clamp(0, 0.35).unsqueeze(1) * 0.5), opening)
    look = across * side - draws.between(-0.016, 0.016)
    gaze(part, (look, down + 0.008), opening, 0.076 * size, person.iris, 1.0)
    lift, arch = draws.between(0.13, 0.16), draws.between(0.015, 0.05)
    thick = draws.between(0.02, 0.03) - 0.008 * person.softness
    brow = lens(across - 0.005, down + lift, 0.13, -arch, thick, thick)
    part.paint(shade(person.hair, 0.25), brow, 0.9)


def _glasses(head: Canvas, draws: Draws) -> None:
    """Paint glasses, round or square, on a fifth of the people."""
    part = head.part(-0.65, -0.4, 0.65, 0.35)
    worn, square, color = draws.chance(0.22), draws.chance(0.5), draws.color(FRAMES)
    x, y = part.x.abs() - 0.21, part.y - 0.02
    round_rim = torch.hypot(x, y) - 0.155
    box = torch.hypot((x.abs() - 0.085).clamp(min=0), (y.abs() - 0.055).clamp(min=0)) - 0.07
    rim = torch.lerp(round_rim, box, square)
    part.paint(tone(1, 1, 1, x.device), rim, 0.16 * worn)
    bridge = torch.maximum((y + 0.03).abs() - 0.014, 0.06 - part.x.abs())
    bridge = torch.maximum(torch.maximum(bridge, -rim), part.x.abs() - 0.47)
    part.paint(color, torch.minimum(rim.abs() - 0.017, bridge), worn)

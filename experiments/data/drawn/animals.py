"""Drawn animals: endless portraits of cats, dogs, foxes, bears, pandas, rabbits, tigers, lions and koalas.

Painted back to front: backdrop, mane, chest, ears, head, markings, muzzle, mouth, eyes, hanging ears,
whiskers.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from experiments.data.drawn.canvas import Canvas, ellipse, horn, lens, scallops, turned, union
from experiments.data.drawn.draws import Drawings, Draws
from experiments.data.drawn.scene import backdrop, gaze, pose, shade, tone
from experiments.data.drawn.species import COATS

Coats = dict[str, Tensor]
"""Fields of species.Coat for a batch: numbers (n, 1, 1) and colors (n, 3, 1, 1)."""


@dataclass(frozen=True)
class DrawnAnimals(Drawings):
    """Drawn animals: `DrawnAnimals(64)(8)` is eight portraits, float32 (8, 3, 64, 64) in [-1, 1]."""

    def render(self, draws: Draws) -> Tensor:
        """Return portraits (n, 3, size, size) in [0, 1]."""
        canvas = Canvas.blank(len(draws.rows), self.size, draws.rows.device)
        backdrop(canvas, draws)
        head, body = pose(canvas, draws)
        coat = _varied(draws.record(COATS), draws)
        _chest(body, coat)
        _mane(head, coat)
        ear = Ear.placed(head.part(-1, -1, 1, 0.5), draws, coat)
        ear.paint(coat, 1 - coat["ear_front"])
        shape = _head(head, coat)
        _markings(head, draws, coat, shape)
        _muzzle(head, draws, coat, shape)
        _eyes(head, draws, coat)
        ear.paint(coat, coat["ear_front"])
        _whiskers(head, coat)
        return canvas.pixels


def _varied(coat: Coats, draws: Draws) -> Coats:
    """Return coats a little lighter or darker, redder or bluer, longer or wider than their table rows."""
    bright, warm = draws.between(0.93, 1.05).unsqueeze(1), draws.between(-0.025, 0.025)
    warmth = torch.stack([1 + warm, torch.ones_like(warm), 1 - 2 * warm], dim=1)
    size = draws.between(0.92, 1.08)
    varied = {name: coat[name] * size for name in ("eye_width", "eye_height")}
    wide = draws.between(0.95, 1.04)
    varied |= {name: coat[name] * wide for name in ("head_width", "cheek_length")}
    varied |= {"fur": (coat["fur"] * bright * warmth).clamp(max=1), "mark": coat["mark"] * bright}
    return coat | varied


def _chest(body: Canvas, coat: Coats) -> None:
    """Paint shoulders and a pale chest."""
    part = body.part(-1, 0.2, 1, 1)
    x, y = part.x, part.y
    light = (0.95 - 0.2 * (1.1 - y).clamp(min=0) - 0.1 * x).unsqueeze(1)
    dark = torch.lerp(coat["fur"], coat["mark"], coat["patches"].unsqueeze(1))  # Pandas wear black.
    shoulders = ellipse(x, y - 1.2, 0.7, 0.8)
    part.paint(dark * light, shoulders)
    part.paint(coat["light"] * light, ellipse(x, y - 1.0, 0.28, 0.45), 0.9 * (1 - coat["patches"]))
    shadow = torch.maximum(ellipse(x, y - 0.4, 0.5, 0.3), shoulders)
    part.paint(shade(dark, 0.6), shadow, 0.5, blur=0.12)


def _mane(head: Canvas, coat: Coats) -> None:
    """Paint a lion's mane: two rings of locks."""
    shown, x, y = (coat["mane"] > 0).float(), head.x, head.y - 0.08
    waves = scallops(x, y, 16.0) * 0.09
    ring = torch.hypot(x, y) - coat["mane"] - waves
    head.paint(shade(coat["mane_color"], 0.25), ring, shown)
    head.paint(coat["mane_color"] * (1.1 - 0.2 * head.y).unsqueeze(1), ring + 0.14 + waves * 2, shown)


@dataclass(frozen=True)
class Ear:
    """Both ears, measured once and painted behind or in front of the head."""

    canvas: Canvas
    along: Tensor
    outer: Tensor
    inner: Tensor

    @classmethod
    def placed(cls, canvas: Canvas, draws: Draws, coat: Coats) -> Ear:
        """Return the ears of coats on the canvas of their heads."""
        angle = coat["ear_angle"] + draws.between(-0.08, 0.08)
        x, y = turned(canvas.x.abs() - coat["ear_x"], canvas.y - coat["ear_y"], angle)
        length, root, tip = coat["ear_length"] * draws.between(0.93, 1.07), coat["ear_root"], coat["ear_tip"]
        rank_slice = coat["ear_inner"]
        inner = horn(x, y, length * (0.4 + 0.6 * rank_slice), root * rank_slice, tip * rank_slice)
        return cls(canvas, -y / length, horn(x, y, length, root, tip), inner)

    def paint(self, coat: Coats, opacity: Tensor) -> None:
        """Paint outer ear, darker towards the tip where the coat says so, and inner ear."""
        dark = torch.lerp(coat["ear_base"], coat["ear_mark"], (self.along * 2.2 - 0.6).clamp(0, 1))
        color = torch.lerp(coat["fur"], coat["mark"], dark.unsqueeze(1)) * 0.96
        self.canvas.paint(color, self.outer, opacity)
        self.canvas.paint(coat["inner"], self.inner, opacity * (coat["ear_inner"] > 0))


def _head(head: Canvas, coat: Coats) -> Tensor:
    """Paint the head, lit from the upper left; return the distance to its outline."""
    x, y = head.x, head.y - 0.08
    skull = ellipse(x, y, coat["head_width"], coat["head_height"], coat["taper"])
    across, down = turned(x.abs() - coat["cheek_x"], head.y - coat["cheek_y"], coat["cheek_angle"])
    cheek = horn(across, down, coat["cheek_length"], coat["cheek_root"], coat["cheek_tip"])
    shape = union(skull, cheek, 0.1)
    head.paint(shade(coat["fur"], 0.35), shape, 0.35, blur=0.08)
    head.paint(coat["fur"] * (1.02 - 0.08 * x - 0.1 * y).unsqueeze(1), shape)
    return shape


def _stripes(head: Canvas, coat: Coats, shape: Tensor) -> None:
    """Paint bars on the forehead and on the cheeks."""
    x, y = head.x.abs(), head.y
    crown = torch.maximum((x - 0.12).abs() - 0.03 - 0.05 * (-0.15 - y), y + 0.2)
    crown = torch.minimum(crown, torch.maximum(x - 0.03, y + 0.13))
    bars = torch.sin((y - 0.25 * x) * 26) * 0.05 + 0.03 - (x - coat["head_width"] * 0.72) * 0.35
    sides = torch.maximum(bars, coat["head_width"] * 0.62 - x)
    stripes = torch.maximum(torch.minimum(crown, sides), shape + 0.005)
    head.paint(coat["mark"], stripes, coat["stripes"])


def _markings(head: Canvas, draws: Draws, coat: Coats, shape: Tensor) -> None:
    """Paint stripes, eye patches, blaze and pale brows, all inside the head."""
    _stripes(head, coat, shape)
    side = torch.sign(draws.between(-1, 1))
    x, y = head.x.abs() - coat["eye_x"] - 0.02, head.y - 0.02
    across, down = turned(x, y, 0.5)
    patch = torch.maximum(ellipse(across, down, 0.16, 0.2), shape)
    one = coat["patch"] * draws.chance(0.5) * (head.x * side > 0)
    head.paint(coat["mark"], patch, torch.maximum(coat["patches"], one))
    blaze = horn(head.x, head.y - 0.2, 0.55, 0.12, 0.03)
    head.paint(coat["light"], torch.maximum(blaze, shape), coat["blaze"] * draws.chance(0.6))
    brow = ellipse(x + 0.03, head.y + 0.16, 0.09, 0.06)
    head.paint(coat["light"], brow, coat["brows"] * 0.9, blur=0.02)


def _muzzle(head: Canvas, draws: Draws, coat: Coats, shape: Tensor) -> None:
    """Paint the muzzle with nose, mouth, and perhaps tongue or teeth."""
    x = head.x.abs()
    across, down = turned(x - coat["muzzle_x"], head.y - coat["muzzle_y"], coat["muzzle_angle"])
    puff = ellipse(across, down, coat["muzzle_width"], coat["muzzle_height"])
    chin = ellipse(head.x, head.y - coat["muzzle_y"] - 0.1, coat["muzzle_width"] * 0.8, 0.1)
    head.paint(coat["light"], torch.maximum(union(puff, chin, 0.05), shape))
    _mouth(head.part(-0.5, 0, 0.5, 0.75), draws, coat)
    part = head.part(-0.4, -0.2, 0.4, 0.6)
    x, y = part.x, part.y - coat["nose_y"]
    width, height = coat["nose_width"], coat["nose_height"]
    part.paint(coat["nose"], ellipse(x, y, width, height, 0.35))
    glint = ellipse(x + width * 0.3, y + height * 0.4, width * 0.35, height * 0.25)
    part.paint(tone(1, 1, 1, x.device), glint, 0.5)


def _mouth(part: Canvas, draws: Draws, coat: Coats) -> None:
    """Paint a smile of two arcs under the nose, a tongue, or a rabbit's teeth."""
    x, y = part.x.abs(), part.y - coat["nose_y"] - coat["nose_height"]
    drop, width = 0.07, draws.between(0.1, 0.13)
    pink, white = tone(0.92, 0.4, 0.46, x.device), tone(1, 1, 1, x.device)
    tongue = horn(x, drop - y, 0.12, 0.06, 0.07)
    lips = drop + 0.05 * (1 - (x / width - 0.95).square())
    part.paint(pink, torch.maximum(tongue, lips - y), draws.chance(coat["tongue"]))
    part.paint(white, torch.maximum(x - 0.045, (y - drop - 0.045).abs() - 0.05), coat["teeth"])
    dark = shade(coat["mark"] * 0.5, 0.3)
    arcs = lens(x - width * 0.95, y - drop, width, 0.05, 0.012, 0.012)
    stem = torch.maximum(x - 0.012, (y - drop / 2).abs() - drop / 2)
    part.paint(dark, torch.minimum(arcs, stem), 0.85)


def _eyes(head: Canvas, draws: Draws, coat: Coats) -> None:
    """Paint dark-rimmed eyes that look the same way."""
    part = head.part(-0.6, -0.5, 0.6, 0.3)
    side, x = torch.sign(part.x), part.x.abs() - coat["eye_x"]
    across, down = turned(x, part.y, -coat["eye_slant"])
    opening = ellipse(across, down, coat["eye_width"], coat["eye_height"])
    part.paint(tone(0.13, 0.11, 0.12, x.device), opening - 0.022)
    look = x * side - draws.between(-0.012, 0.012)
    radius = torch.maximum(coat["eye_width"], coat["eye_height"])
    gaze(part, (look, part.y), opening, radius, coat["iris"], coat["slit"])


def _whiskers(head: Canvas, coat: Coats) -> None:
    """Paint two whiskers on each side."""
    part = head.part(-0.9, -0.05, 0.9, 0.6)
    x, y = part.x.abs() - 0.2, part.y - coat["muzzle_y"]
    upper = horn(*turned(x, y + 0.03, 1.4), 0.42, 0.012, 0.003)
    lower = horn(*turned(x, y - 0.04, 1.65), 0.42, 0.012, 0.003)
    part.paint(tone(1, 1, 1, x.device), torch.minimum(upper, lower), 0.8 * coat["whiskers"])

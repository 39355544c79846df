"""The drawn animals' species: one table of shapes and coats, painted by the functions of animals.py.

A species is told by its ears, head, muzzle and markings; each has three coats, so that picking a row
uniformly picks a species uniformly.
"""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Coat:
    """One species in one coat, measured in the frame of the head (origin between the eyes).

    Angles are in radians, zero straight up and growing outwards; a size of zero leaves the part out.
    """

    fur: str
    light: str = "#fff6ea"
    """Muzzle, chest and other pale parts."""
    mark: str = "#2b2326"
    """Stripes, patches and ear tips."""
    mane_color: str = "#8a4b22"
    inner: str = "#f2a9a4"
    nose: str = "#e58a8a"
    iris: str = "#8fae4a"
    # The head is an ellipse, narrowed downwards by a taper, with a cheek melted in on either side.
    head_width: float = 0.52
    head_height: float = 0.47
    taper: float = 0.0
    cheek_x: float = 0.2
    cheek_y: float = 0.24
    cheek_angle: float = 1.9
    cheek_length: float = 0.22
    cheek_root: float = 0.22
    cheek_tip: float = 0.06
    # Ears start at (ear_x, ear_y); root and tip are the radii of their ends.
    ear_x: float = 0.33
    ear_y: float = -0.25
    ear_angle: float = 0.35
    ear_length: float = 0.4
    ear_root: float = 0.22
    ear_tip: float = 0.03
    ear_inner: float = 0.6
    """Size of the inner ear as a share of the ear."""
    ear_base: float = 0.0
    """How far the ear takes the color of markings near the head."""
    ear_mark: float = 0.0
    """The same near its tip."""
    ear_front: float = 0.0
    """Whether the ears hang in front of the head."""
    # The muzzle is two puffs, muzzle_x either side of the middle, and a chin between them.
    muzzle_x: float = 0.09
    muzzle_y: float = 0.34
    muzzle_width: float = 0.15
    muzzle_height: float = 0.12
    muzzle_angle: float = 0.0
    nose_y: float = 0.22
    nose_width: float = 0.065
    nose_height: float = 0.045
    eye_x: float = 0.23
    eye_width: float = 0.115
    eye_height: float = 0.115
    eye_slant: float = 0.0
    """How much the eye's outer corner rises."""
    slit: float = 1.0
    """The pupil's width as a share of its height."""
    patches: float = 0.0
    """Dark patches around both eyes."""
    patch: float = 0.0
    """A dark patch around one eye, on half of the animals."""
    blaze: float = 0.0
    """A pale stripe up the forehead."""
    brows: float = 0.0
    """Pale spots over the eyes."""
    stripes: float = 0.0
    mane: float = 0.0
    """Radius of a mane."""
    whiskers: float = 0.0
    teeth: float = 0.0
    tongue: float = 0.0
    """How often the tongue is out."""


CAT = Coat("#e9a25c", light="#fff1de", mark="#b8652a", slit=0.5, eye_slant=0.15, stripes=0.8, whiskers=1)
DOG = Coat(
    "#d9a566", mark="#8a5a33", nose="#2b2326", iris="#5b3a1e", inner="#c08a50",
    head_width=0.46, head_height=0.46,
    cheek_angle=2.6, cheek_length=0.14, cheek_root=0.26, cheek_tip=0.22,
    ear_x=0.39, ear_y=-0.28, ear_angle=2.78, ear_length=0.44, ear_root=0.1, ear_tip=0.17,
    ear_inner=0, ear_base=0.25, ear_mark=0.75, ear_front=1,
    muzzle_x=0.06, muzzle_y=0.32, muzzle_width=0.2, muzzle_height=0.2,
    nose_y=0.2, nose_width=0.1, nose_height=0.07,
    eye_x=0.2, eye_width=0.095, eye_height=0.1,
    blaze=1, patch=1, tongue=0.65,
)  # fmt: skip
FOX = Coat(
    "#e2702c", light="#fff3e6", mark="#3a2420", nose="#2b2020", iris="#c98a2c", inner="#4a2a22",
    head_width=0.5, head_height=0.45, taper=0.22,
    cheek_x=0.15, cheek_y=0.2, cheek_angle=1.75, cheek_length=0.42, cheek_root=0.26, cheek_tip=0.02,
    ear_x=0.32, ear_y=-0.28, ear_angle=0.25, ear_length=0.42, ear_root=0.21, ear_inner=0.6, ear_mark=0.85,
    muzzle_x=0.31, muzzle_y=0.34, muzzle_width=0.34, muzzle_height=0.21, muzzle_angle=-0.32,
    nose_y=0.3, nose_width=0.075, nose_height=0.06,
    eye_width=0.1, eye_height=0.085, eye_slant=0.35, slit=0.6,
)  # fmt: skip
BEAR = Coat(
    "#8a5a3a", light="#d9b48a", nose="#2a1d1a", iris="#2a1d1a", inner="#c08f66",
    head_width=0.55, head_height=0.5,
    cheek_y=0.18, cheek_angle=1.75, cheek_length=0.17, cheek_root=0.25, cheek_tip=0.19,
    ear_x=0.42, ear_y=-0.3, ear_angle=0.6, ear_length=0.06, ear_root=0.2, ear_tip=0.2, ear_inner=0.55,
    muzzle_x=0.0, muzzle_y=0.32, muzzle_width=0.25, muzzle_height=0.2,
    nose_y=0.22, nose_width=0.1, nose_height=0.07,
    eye_x=0.21, eye_width=0.075, eye_height=0.08,
)  # fmt: skip
PANDA = replace(
    BEAR, fur="#faf6f0", light="#ffffff", mark="#2b272b", inner="#2b272b",
    ear_base=1, ear_mark=1,
    muzzle_width=0.2, muzzle_height=0.15,
    nose_width=0.08, nose_height=0.055,
    eye_x=0.21,
    patches=1,
)  # fmt: skip
RABBIT = Coat(
    "#cdb6a0", light="#fff8f0", mark="#a58a72", iris="#4a2c1a",
    head_width=0.44, head_height=0.45,
    cheek_angle=1.9, cheek_length=0.1, cheek_root=0.24, cheek_tip=0.2,
    ear_x=0.17, ear_y=-0.28, ear_angle=0.2, ear_length=0.42, ear_root=0.1, ear_tip=0.11, ear_inner=0.55,
    muzzle_x=0.085, muzzle_y=0.31, muzzle_width=0.13, muzzle_height=0.11,
    nose_y=0.21, nose_width=0.055, nose_height=0.038,
    eye_width=0.1, eye_height=0.12,
    whiskers=0.7, teeth=1, blaze=0.6,
)  # fmt: skip
TIGER = Coat(
    "#f0922e", light="#fff6ea", mark="#2a1f1c", nose="#e0787a", iris="#d9a52c", inner="#fbe3d2",
    head_width=0.55, head_height=0.48,
    cheek_y=0.19, cheek_angle=1.95, cheek_length=0.28, cheek_root=0.26, cheek_tip=0.1,
    ear_x=0.42, ear_y=-0.3, ear_angle=0.6, ear_length=0.05, ear_root=0.18, ear_tip=0.17, ear_inner=0.55,
    muzzle_x=0.11, muzzle_y=0.36, muzzle_width=0.19, muzzle_height=0.16,
    nose_y=0.24, nose_width=0.1, nose_height=0.06,
    eye_width=0.1, eye_height=0.09, eye_slant=0.2,
    brows=1, stripes=1, whiskers=0.6,
)  # fmt: skip
LION = replace(
    TIGER, fur="#eab464", mark="#c58a3e", nose="#5a3026", inner="#c98a4e",
    head_width=0.46, head_height=0.46,
    cheek_length=0.15,
    ear_x=0.4, ear_y=-0.32, ear_root=0.15, ear_tip=0.15,
    mane=0.72, stripes=0, brows=0.6,
)  # fmt: skip
KOALA = Coat(
    "#9ba3ad", light="#eef0f2", mark="#77808c", nose="#2d2b31", iris="#33241e", inner="#f0c4c4",
    head_width=0.5, head_height=0.47,
    cheek_y=0.15, cheek_length=0.13, cheek_root=0.26, cheek_tip=0.2,
    ear_x=0.5, ear_y=-0.22, ear_angle=0.9, ear_length=0.1, ear_root=0.25, ear_tip=0.25, ear_inner=0.65,
    muzzle_x=0.0, muzzle_y=0.37, muzzle_width=0.2, muzzle_height=0.15,
    nose_y=0.18, nose_width=0.1, nose_height=0.16,
    eye_x=0.24, eye_width=0.075, eye_height=0.08,
)  # fmt: skip

COATS = (
    CAT,
    replace(CAT, fur="#8d8f98", light="#f4f4f6", mark="#55565f", iris="#e0b53c"),
    replace(CAT, fur="#3a3840", light="#4c4a53", mark="#2b2930",
            inner="#946d72", nose="#946d72", iris="#e0cc3c"),
    DOG,
    replace(DOG, fur="#f6efe4", mark="#7a4a2a", light="#ffffff", inner="#7a4a2a"),
    replace(DOG, fur="#6b4630", mark="#45291a", light="#e9c9a0", patch=0, brows=1),
    FOX,
    replace(FOX, fur="#cf5a24"),
    replace(FOX, fur="#7f828d", light="#f6f3f0", mark="#2d2b31"),
    BEAR,
    replace(BEAR, fur="#5b3b2a", light="#b98d63"),
    replace(BEAR, fur="#f3efe6", light="#ffffff", inner="#d8cfc4"),
    PANDA,
    replace(PANDA, fur="#fffdf8", mark="#35323a"),
    replace(PANDA, fur="#f4ece0", mark="#3a2a26"),
    RABBIT,
    replace(RABBIT, fur="#f8f5f2", mark="#d8d0cc", iris="#b04a55"),
    replace(RABBIT, fur="#8e8a90", mark="#5d5a60"),
    TIGER,
    replace(TIGER, fur="#e87f22"),
    replace(TIGER, fur="#f4f0ea", light="#ffffff", iris="#5b9fd0"),
    LION,
    replace(LION, fur="#e0a452", mane_color="#6b3518"),
    replace(LION, fur="#f0c67c", mane_color="#b4642a"),
    KOALA,
    replace(KOALA, fur="#8a8f98"),
    replace(KOALA, fur="#b0a8a4"),
)  # fmt: skip

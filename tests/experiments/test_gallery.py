"""The gallery: every registered degradation in one picture."""

from __future__ import annotations

import sys

import pytest
from PIL import Image

import degrade
from degrade.command_line import run_main
from experiments.data.drawn import DrawnFaces
from experiments.gallery import gallery, main


def test_it_shows_every_registered_degradation_from_clean_to_last():
    face = DrawnFaces(32)(1)[0]
    strips = gallery(face, count=3)
    assert [strip.title for strip in strips] == list(degrade.names())
    for strip in strips:
        assert (strip.panels[0] - face).abs().max() == 0
        if degrade.get(strip.title).__module__.startswith("degrade."):  # other tests register degradations, too
            assert (strip.panels[-1] - face).abs().mean() > 0.01


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--image nowhere.png", "nowhere.png is not a picture"),
        ("--size 40", "which 2^4 does not divide"),
        ("--size 8", "--size 8: input should be greater than or equal to 16"),
        ("--count 1", "--count 1: input should be greater than or equal to 2"),
        ("--out nowhere/gallery.png --size 32", "nowhere/gallery.png"),
    ],
)
def test_bad_input_is_one_line(arguments, message, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["gallery.py", *arguments.split()])
    assert run_main(main, "gallery") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not list(tmp_path.iterdir())


def test_a_photograph_gets_rows_of_its_own(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    Image.linear_gradient("L").save("photo.png")
    heights = []
    for photo in ([], ["--image", "photo.png"]):
        main(["--size", "32", "--count", "2", *photo])
        with Image.open("gallery.png") as picture:
            heights.append(picture.height)
    assert heights[1] > 1.8 * heights[0]

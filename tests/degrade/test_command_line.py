"""The command line and the gallery: what they print, draw and refuse."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from PIL import Image
from pydantic import Field

import degrade
from degrade import command_line
from degrade.__main__ import main
from degrade.demo_image import demo_image
from degrade.functional.sigmas import Constant
from degrade.image_io import load_image, to_pil_image
from degrade.rendering import GAP, MARGIN, render_rows, severity_row
from degrade.serializable import parse_key_values
from experiments.gallery import gallery
from experiments.gallery import main as draw_gallery


def test_list_aligns_names_arguments_and_descriptions(capsys):
    assert main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = {line.split()[0]: line for line in lines if line[0] != " "}
    assert set(rows) == set(degrade.names())
    start = rows["decolor"].index(degrade.get("decolor").__doc__.split("\n")[0].strip())
    assert all(row[start - 1] == " " != row[start] for row in rows.values())
    assert f"{' ' * start}T=1000  schedule=linear_beta" in lines
    assert f"{' ' * start}T=200  parts=[blur, gaussian_noise]  curves=[]  noise_fraction=0.5" in lines
    assert "source" not in "".join(lines[1:2])


def test_show_writes_the_strip_and_prints_its_path(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["show", "decolor", "T=4", "--size", "16", "--count", "3"]) == 0
    assert capsys.readouterr().out == "decolor.png\n"
    with Image.open("decolor.png") as page:
        right = page.crop((page.width - MARGIN - 128, MARGIN, page.width - MARGIN, MARGIN + 128)).resize((16, 16), 0)
    expected = to_pil_image(degrade.make("decolor", T=4)(demo_image(16)[None], torch.tensor([4]))[0])
    assert right.tobytes() == expected.tobytes()


def test_show_takes_a_photograph_and_options_in_any_order(tmp_path, capsys):
    photo, out = tmp_path / "photo.jpg", tmp_path / "strip.png"
    Image.new("RGB", (60, 40), "orange").save(photo)
    assert main(["show", "--count", "2", "interpolation", "schedule=rectified", "--out", str(out), "T=3"]) == 0
    assert main(["show", "gaussian_noise", "T=3", "--image", str(photo), "--out", str(out), "--seed", "1",
                 'schedule={"name":"cosine","arguments":{"s":0.1}}']) == 0  # fmt: skip
    assert capsys.readouterr().out == f"{out}\n{out}\n"
    assert out.exists()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["decolor", "T=3", "factor=.5", "gray_at_T=True"], degrade.make("decolor", T=3, factor=0.5, gray_at_T=True)),
        (["blur", "T=+3", "sigmas=constant:sigma=2", "mean_at_T=false"], degrade.Blur(T=3, sigmas=Constant(sigma=2.0))),
    ],
)
def test_the_text_of_a_command_line_becomes_numbers(words, expected):
    assert degrade.make(words[0], **parse_key_values(words[1:])) == expected


def test_check_prints_every_verdict_and_fails_when_one_breaks(capsys):
    assert main(["check", "mask_to_color", "T=3", "--size", "16"]) == 0
    assert capsys.readouterr().out.count(" holds ") == 11
    assert main(["check", "tests.degrade.test_laws:Broken", "law=independence"]) == 1
    out = capsys.readouterr().out
    assert "independence  BROKEN off by " in out
    assert out.count("\n") == 9
    assert main(["check", "degrade.operators.noise:GaussianNoise", "T=3", "--channels", "1"]) == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "no command: choose a command from list, show, check, fit"),
        (["list", "T=3"], "unrecognized arguments: T=3"),
        (["show"], "required: NAME"),
        (["show", "blurr"], "no degradation is called 'blurr': did you mean 'blur'"),
        (["show", "blur", "T"], "'T' is no option and no key=value"),
        (["show", "blur", "--colour"], "unrecognized arguments: --colour"),
        (["show", "blur", "T=0"], "blur: T = 0"),
        (["show", "blur", "T=3.0"], "blur: T = 3.0: input should be a valid integer"),
        (["show", "blur", 'T="3"'], "blur: T = '3': input should be a valid integer"),
        (["show", "blur", "strength=3"], "blur: strength = 3: unexpected keyword argument"),
        (["show", "blur", "--size", "big"], "--size big: input should be a valid integer"),
        (["show", "blur", "--size", "0"], "--size 0: input should be greater than or equal to 1"),
        (["show", "blur", "--out", "/no/such/folder/a.png"], "/no/such/folder/a.png"),
        (["show", "blur", "--out", "a.nonsense"], "unknown file extension"),
        (["show", "blur", "--image", __file__], "is not a picture that can be read"),
        (["show", "pixelate", "T=9"], "pixelate: "),
        (["check", "no_such_module:Class"], "No module named 'no_such_module'"),
        (["check", "degrade.operators.noise:Nothing"], "degrade.operators.noise:Nothing is None; it needs a class"),
        (["check", "degrade.base:Degradation", "T=a"], "Degradation: T = 'a'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_one_line_and_code_2(words, message, capsys):
    try:
        code = main(words)
    except SystemExit as stop:  # argparse's way out
        code = stop.code
    found = capsys.readouterr()
    assert code == 2
    assert found.out == ""
    assert message in found.err
    assert found.err.startswith("python -m degrade: ")
    assert found.err.count("\n") == 1


def test_it_runs_as_a_module():
    run = subprocess.run([sys.executable, "-m", "degrade", "show", "nothing"], capture_output=True, text=True)
    assert run.returncode == 2
    assert run.stderr.startswith("python -m degrade: no degradation is called 'nothing'")


def test_a_strip_shows_one_z_at_every_severity():
    x0 = demo_image(16)
    D = degrade.make("gaussian_noise", T=8)
    row = severity_row(D, x0, 5, seed=3)
    z = D.draw(x0[None], torch.Generator().manual_seed(3)).expand(5, -1, -1, -1)
    assert torch.equal(row.panels, D(x0.expand(5, -1, -1, -1), torch.tensor([0, 2, 4, 6, 8]), z))
    page = render_rows([row, row], scale=2)
    assert page.height == 2 * MARGIN + 2 * (32 + 26 + GAP) - GAP


def test_the_gallery_has_a_row_for_every_degradation(tmp_path, capsys):
    face = demo_image(32)
    rows = gallery(face, count=2)
    assert [row.title for row in rows] == list(degrade.names())
    assert all(row.panels.shape == (2, 3, 32, 32) for row in rows)
    assert all(torch.equal(row.panels[0], face) for row in rows)
    photo, out = tmp_path / "photo.png", tmp_path / "gallery.png"
    to_pil_image(face).save(photo)
    draw_gallery(["--size", "32", "--count", "2", "--image", str(photo), "--out", str(out)])
    assert capsys.readouterr().out == f"{out}\n"
    with Image.open(out) as page:
        assert page.height > 2 * len(rows) * 32


def test_pictures_survive_the_way_to_a_file_and_back(tmp_path):
    x0 = demo_image(24)
    to_pil_image(x0).save(tmp_path / "a.png")
    assert (load_image(tmp_path / "a.png", 24) - x0).abs().max() <= 1 / 255 + 1e-6


def test_options_that_commands_share_stand_under_headings_of_their_own(capsys):
    class Place(command_line.Command):
        """Device and seed."""

        seed: int = Field(0, description="seed of all random numbers")

    class Show(Place):
        """Show a picture."""

        out: str = Field("x.png", description="file of the picture")

        def run(self) -> int:
            return 0

    with pytest.raises(SystemExit):
        command_line.explicit_values(Show, ["--help"], "show", "Show a picture.")
    printed = capsys.readouterr().out
    assert printed.index("Device and seed:") < printed.index("--seed") < printed.index("Arguments:")
    assert printed.index("Arguments:") < printed.index("--out")

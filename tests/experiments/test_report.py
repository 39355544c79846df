"""Report pages: what they hold, that they need nothing else, and how they behave in a browser."""

from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser

import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from experiments.report.blocks import BeforeAfter, Facts, Gallery, Plot, Slider, Table, Text
from experiments.report.page import Page, write_report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
ROWS = (("direct", 0.2, 0.61), ("algorithm2", 0.1, None), ("ddim:eta=0.5", 10.0, 0.7))


def page() -> Page:
    figure = Figure(figsize=(4, 3))
    figure.add_subplot().plot([1, 2, 3], [3, 1, 2])
    levels = torch.linspace(-1, 1, 5)
    pictures = [torch.full((3, 16, 16), float(level)) for level in levels]
    return Page(
        "A <run> & its numbers",
        "Algorithm 2 wins.",
        [
            Slider("Severity", "D(x0, t, z) of one image.", pictures, [f"t = {t}" for t in range(5)], start=2),
            BeforeAfter("Restored", "", [Image.new("RGB", (64, 48), c) for c in ("red", "blue")]),
            Table("Samplers", "", ("sampler", "RMSE", "SSIM"), ROWS, better={"RMSE": "low", "SSIM": "high"}),
            Gallery("Samples", "", [torch.zeros(1, 8, 8), Image.new("L", (300, 200))], ["one", "two"]),
            Plot("Loss", "", figure, "the loss falls"),
            Facts("Configuration", "", {"seed": 0, "command": "train.py --data <a>", "sizes": [1, 2]}),
            Text("Words", "", "5 < 6"),
        ],
    )


class Reader(HTMLParser):
    """Collects tags with their attributes, and the text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += data


def test_a_page_is_one_file_that_names_no_other(tmp_path):
    html = write_report(tmp_path / "report.html", page()).read_text()
    reader = Reader(html)
    assert "A <run> & its numbers" in reader.text, "text is escaped once"
    assert "5 < 6" in reader.text
    sources = [a["src"] for tag, a in reader.tags if "src" in a]
    assert len(sources) == 5 + 2 + 2 + 1
    assert all(source.startswith("data:image/") for source in sources)
    links = [a["href"] for _, a in reader.tags if "href" in a]
    assert links == [f"#block-{i}" for i in range(1, 8)]
    assert not re.search(r"https?://(?!www\.w3\.org)", html)
    assert all(a.get("alt") for tag, a in reader.tags if tag == "img"), "every picture has a text"
    assert len(html) < 200_000


def test_the_best_numbers_are_marked(tmp_path):
    html = write_report(tmp_path / "report.html", page()).read_text()
    assert re.findall(r"<strong>(.*?)</strong>", html) == ["0.1", "0.7"]


def test_a_page_that_is_too_large_to_mail_is_said(tmp_path):
    noise = torch.rand(3, 1400, 1400, generator=torch.Generator().manual_seed(0)) * 2 - 1
    large = Page("large", "", [Gallery("g", "", [noise] * 9, ["noise"] * 9)])
    with pytest.warns(UserWarning, match="MB; show fewer or smaller pictures"):
        write_report(tmp_path / "report.html", large)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Table("t", columns=("a", "b"), rows=((1,),)), "has 1 cells for 2 columns"),
        (lambda: Table("t", columns=("a",), better={"b": "low"}), "better names b; the columns are a"),
        (lambda: Slider("s", pictures=[1, 2], captions=["a"]), "2 pictures and 1 captions"),
        (lambda: Slider("s", pictures=[1], captions=["a"], start=1), r"pictures 0\.\.0"),
        (lambda: BeforeAfter("b", pictures=[1, 2, 3], captions="abc"), "3 pictures; a comparison needs two"),
        (lambda: Gallery("g"), "0 pictures"),
    ],
)
def test_blocks_that_cannot_be_shown_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("chromium is not installed: apt-get install chromium")
    flags = "--no-sandbox --disable-gpu --disable-background-networking --disable-component-update --disable-sync"
    with playwright.sync_playwright() as session:
        chromium = session.chromium.launch(executable_path=CHROMIUM, args=flags.split())
        yield chromium
        chromium.close()


@pytest.fixture
def shown(browser, tmp_path):
    """The page in a browser, which must stay free of errors and of requests."""
    tab = browser.new_page(viewport={"width": 1400, "height": 900})
    faults = []
    tab.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    tab.on("pageerror", lambda error: faults.append(str(error)))
    tab.on("request", lambda request: request.url.startswith(("data:", "file:")) or faults.append(request.url))
    tab.goto(write_report(tmp_path / "report.html", page()).as_uri())
    yield tab
    assert faults == []
    tab.close()


def test_the_slider_changes_the_picture_from_the_keyboard(shown):
    visible = "[data-slider] figure:not([hidden]) img"
    first = shown.get_attribute(visible, "src")
    shown.focus("[data-slider] input")
    shown.keyboard.press("ArrowRight")
    assert shown.get_attribute(visible, "src") != first
    assert shown.text_content("[data-slider] output") == "t = 3"
    assert shown.get_attribute("[data-slider] input", "aria-valuetext") == "t = 3"
    assert shown.locator(visible).count() == 1


def test_the_divider_moves_by_key_and_by_mouse(shown):
    def share() -> str:
        return shown.eval_on_selector("[data-divider]", "e => e.style.getPropertyValue('--share')")

    assert share() == "50%"
    shown.focus("[data-divider] input")
    shown.keyboard.press("ArrowLeft")
    assert share() == "49%"
    shown.locator("[data-divider]").scroll_into_view_if_needed()
    box = shown.locator("[data-divider] .pair").bounding_box()
    shown.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 10)
    shown.mouse.down()
    shown.mouse.move(box["x"] + box["width"] * 0.2, box["y"] + 10)
    shown.mouse.up()
    assert share() == "20%"


def test_tables_sort_as_numbers_with_empty_cells_last(shown):
    def column(j: int) -> list[str]:
        return shown.eval_on_selector_all(f"tbody tr > :nth-child({j})", "cells => cells.map(c => c.textContent)")

    shown.click("th button >> text=RMSE")
    assert column(2) == ["0.1", "0.2", "10"]
    shown.click("th button >> text=RMSE")
    assert column(2) == ["10", "0.2", "0.1"]
    shown.click("th button >> text=SSIM")
    assert column(3) == ["0.61", "0.7", ""]
    assert shown.get_attribute("th:nth-child(3)", "aria-sort") == "ascending"
    assert shown.get_attribute("th:nth-child(2)", "aria-sort") is None


@pytest.mark.parametrize("width", [400, 1400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_cut_off_and_everything_can_be_read(shown, width, scheme):
    shown.set_viewport_size({"width": width, "height": 900})
    shown.emulate_media(color_scheme=scheme)
    assert shown.evaluate("document.documentElement.scrollWidth") <= width
    ink, paper = (
        [int(v) for v in re.findall(r"\d+", shown.evaluate(f"getComputedStyle(document.body).{name}"))[:3]]
        for name in ("color", "backgroundColor")
    )
    assert (sum(paper) > sum(ink)) == (scheme == "light")
    assert abs(sum(paper) - sum(ink)) > 500, json.dumps([ink, paper])

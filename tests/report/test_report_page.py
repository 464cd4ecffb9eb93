"""The page of a report: everyone can read it, with any browser, a keyboard, a screen reader."""

import io
import json
import re
from itertools import pairwise

import numpy as np
import pytest

from support import chromium
from support.html_page import Page
from support.reports import QUIET, finish_run, without_model
from tf_distilbert.report.reporter import write_report

matplotlib = pytest.importorskip("matplotlib", reason="needs the extra `report`")
pytest.importorskip("matplotlib.image")
pytest.importorskip("jinja2", reason="needs the extra `report`")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return finish_run(tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="module")
def path(folder):
    return write_report([folder / "run"], console=QUIET)


@pytest.fixture(scope="module")
def page(path):
    return Page(path.read_text("utf-8"))


def test_it_needs_no_other_file_and_no_network(path):
    text = path.read_text("utf-8")
    assert "http:" not in text and "https:" not in text and "//" not in re.sub(r"/+tmp", "", text)
    assert not re.search(r"<(script|link|img|iframe|object)\b|@import|\bsrc=", text)
    assert set(re.findall(r"url\((.)", text)) <= {"#"}


def test_every_picture_has_words_and_values(page):
    pictures = page.all("svg")
    spoken = [svg for svg in pictures if svg.attributes.get("role") == "img"]
    assert len(spoken) >= 10
    assert all(len(svg.attributes["aria-label"]) > 30 for svg in spoken)
    silent = [svg for svg in pictures if svg not in spoken]
    assert all(svg.attributes["aria-hidden"] == "true" and svg.parent.text for svg in silent)
    for figure in page.all("figure"):
        tables = figure.all("table") or figure.parent.all("table")
        assert figure.all("h3") and tables


def test_headings_nest(page):
    levels = [int(heading.tag[1]) for heading in page.all("h1", "h2", "h3", "h4", "h5", "h6")]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_ids_are_unique_and_what_is_pointed_at_is_there(page):
    elements = list(page.root)
    ids = [e.attributes["id"] for e in elements if "id" in e.attributes]
    assert len(ids) == len(set(ids))
    pointed = [e.attributes["href"][1:] for e in elements if "href" in e.attributes]
    pointed += [e.attributes["aria-labelledby"] for e in page.all("section")]
    for element in elements:
        pointed += re.findall(r"url\(#([^)]*)\)", " ".join(map(str, element.attributes.values())))
    assert set(pointed) <= set(ids) and len(pointed) > 20


def test_a_screen_reader_and_a_keyboard_get_along(page):
    [html] = page.all("html")
    assert html.attributes["lang"] == "en" and page.all("title")[0].text == "Report on run"
    assert len(page.all("main")) == 1
    first = next(element for element in page.all("body")[0] if element.tag == "a")
    assert first.attributes["href"] == "#content"
    for table in page.all("table"):
        assert table.all("caption")[0].text
        assert all(cell.attributes.get("scope") in ("col", "row") for cell in table.all("th"))
        # What can be scrolled can be reached.
        assert table.parent.attributes["tabindex"] == "0" and table.parent.attributes["aria-label"]


def test_names_are_text_and_no_tags(folder, tmp_path):
    copy = without_model(folder, tmp_path, "<b>&amp; run")
    text = write_report([copy], console=QUIET).read_text("utf-8")
    assert "<b>&amp; run" not in text and "&lt;b&gt;&amp;amp; run" in text
    assert Page(text).all("h1")[0].text == "Report on <b>&amp; run"


def test_the_same_run_makes_the_same_page(folder, tmp_path):
    copy = without_model(folder, tmp_path)
    first, second = (write_report([copy], console=QUIET).read_bytes() for _ in range(2))
    assert first == second


def luminance(color):
    channels = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(a, b):
    light, dark = sorted((luminance(a), luminance(b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_contrast_is_that_of_a_known_pair():
    assert contrast("#ffffff", "#000000") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_a_contrast_of_4_5_and_lines_one_of_3(path, scheme):
    style = re.search(r"<style>(.*?)</style>", path.read_text("utf-8"), re.DOTALL)[1]
    light, dark = style.split("@media (prefers-color-scheme: dark)")
    colors = dict(re.findall(r"--([\w-]+): (#\w{6});", dark if scheme == "dark" else light))
    assert len(colors) == 16
    for background in ("page", "raised"):
        for text in ("text", "faint", "link", "right"):
            assert contrast(colors[text], colors[background]) >= 4.5, (text, background)
        for number in range(1, 9):
            assert contrast(colors[f"series-{number}"], colors[background]) >= 3
    assert contrast(colors["text"], colors["mark"]) >= 4.5
    # No colour but those is in the page.
    rules = re.sub(r"--[\w-]+: #\w{6};", "", style)
    assert not re.search(r"#[0-9a-f]{3,6}\b", rules)
    drawn = " ".join(re.findall(r"<svg.*?</svg>", path.read_text("utf-8"), re.DOTALL))
    assert not re.search(r"(fill|stroke): #", drawn)


# In a browser


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if not chromium.PROGRAM:
        pytest.skip(chromium.NEEDS)
    with chromium.Chromium(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_in_a_browser_it_looks_right(browser, path, width, dark):
    browser.open(path, width=width, height=844, dark=dark)
    assert browser.evaluate("document.documentElement.scrollWidth") == width  # nothing sticks out
    columns = browser.evaluate(
        "new Set([...document.querySelectorAll('#curves .plot')]"
        ".map(plot => plot.getBoundingClientRect().left)).size"
    )
    assert columns == (1 if width == 390 else 3)
    smallest = browser.evaluate(
        "Math.min(...[...document.querySelectorAll('.plot svg text')]"
        ".map(text => text.getBoundingClientRect().height))"
    )
    assert smallest >= 9  # the pictures' words can be read on a phone
    browser.evaluate("document.querySelector('#curves').scrollIntoView()")
    # A picture of the window: mostly background, and lines in the colour of the first run.
    pixels = matplotlib.image.imread(io.BytesIO(browser.screenshot()), format="png")[..., :3]
    assert pixels.shape[:2] == (844, width)
    page, series = ("#12161c", "#6cb2ff") if dark else ("#ffffff", "#0b62c4")
    share = {
        color: np.mean(np.abs(pixels - matplotlib.colors.to_rgb(color)).max(-1) < 0.02)
        for color in (page, series)
    }
    assert share[page] > 0.6 and 1e-4 < share[series] < 0.1
    assert browser.requests == [path.as_uri()] * len(browser.requests)


def test_in_a_browser_tables_fit_a_phone_or_show_that_there_is_more(browser, path, tmp_path):
    browser.open(path, width=390, height=844)
    wide = (
        "JSON.stringify([...document.querySelectorAll('.scroll')]"
        ".filter(place => place.scrollWidth > place.clientWidth)"
        ".map(place => place.getAttribute('aria-label')))"
    )
    assert json.loads(browser.evaluate(wide)) == [
        "Picture of the tasks in " + str(path.parent / "retention")
    ]
    # At the right of the picture, which goes on there, is a shadow; none at its left.
    browser.evaluate("document.querySelector('.wide .scroll').scrollIntoView()")
    pixels = matplotlib.image.imread(io.BytesIO(browser.screenshot()), format="png")[..., :3]
    edges = browser.evaluate(
        "(() => { const r = document.querySelector('.wide .scroll').getBoundingClientRect();"
        " return JSON.stringify([r.left, r.right, (r.top + r.bottom) / 2]); })()"
    )
    left, right, middle = (int(edge) for edge in json.loads(edges))
    assert pixels[middle, right - 2].mean() < 0.7 < 0.99 < pixels[middle, left + 1].mean()


def test_in_a_browser_it_works_from_the_keyboard(browser, path):
    browser.open(path, width=1280, height=844)
    focused = []
    for _ in range(14):
        browser.press_tab()
        focused.append(browser.evaluate("document.activeElement.innerText.split('\\n')[0]"))
        visible = browser.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert visible != "none"
    assert focused[:3] == ["Skip to the content", "Summary", "Student and teacher"]
    assert any(text.startswith("All settings of run") for text in focused)


def test_in_a_browser_a_screen_reader_gets_words_for_pictures(browser, path, page):
    browser.open(path, width=1280, height=844)
    found = browser.accessible()
    wanted = [svg.attributes["aria-label"] for svg in page.all("svg") if "role" in svg.attributes]
    assert sorted(name for role, name in found if role == "image") == sorted(wanted)
    assert [name for role, name in found if role == "heading"][:2] == ["Report on run", "Summary"]
    assert ("navigation", "Sections") in found

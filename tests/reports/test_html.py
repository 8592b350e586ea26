"""One HTML file per record: it needs nothing else, and shows names as they are."""

import math
import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest

from lightning_clip._errors import ArgumentError
from lightning_clip.core import Event, RunInfo
from lightning_clip.reports import RunRecord
from tests.support.recorded import history_of

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
EVIL = "<script>alert('x')</script>&\"'"


class Balanced(HTMLParser):
    """Every element is closed, in order."""

    EMPTY = frozenset({"meta", "br", "hr", "img"})

    def __init__(self) -> None:
        super().__init__()
        self.open = []
        self.seen = set()

    def handle_starttag(self, tag, attrs):
        self.seen.add(tag)
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def record_of(norms, **options):
    history = history_of(norms, shares={"layers.0.weight": 0.7, EVIL: 0.3}, **options)
    history.events.append(Event(3, "switch", f"to {EVIL}"))
    return RunRecord(RunInfo(model=EVIL, strategy="NormClip(1.0)", numels={EVIL: 3}, seconds=2.0), history)


@pytest.fixture(scope="module")
def pages():
    """The page of a run that exploded, and that of two runs."""
    calm = record_of([1.0 + step % 3 for step in range(50)])
    wild = record_of([2.0**step for step in range(40)] + [math.nan])
    return {"one": wild.to_html(), "two": calm.compare(wild, names=["calm", EVIL]).to_html()}


@pytest.mark.parametrize("name", ["one", "two"])
def test_a_page_is_whole_and_needs_no_other_file(pages, name):
    """No script, no reference to a file or a server, and every name is text."""
    page, parser = pages[name], Balanced()
    parser.feed(page)
    assert not parser.open
    assert "script" not in parser.seen
    assert "svg" in parser.seen
    assert "&lt;script&gt;" in page
    external = [url for url in re.findall(r'(?:src|href|url)\s*[=(]\s*["\']?([^"\'\s)>]+)', page) if url[0] != "#"]
    assert not external
    assert len(page) < 3e6


def test_text_in_a_picture_is_text_and_lines_have_no_needless_digits(pages):
    """A label can be searched and read aloud, and needs no outline of each letter; a point has two decimals."""
    picture = re.search(r"<svg.*?</svg>", pages["one"], re.DOTALL)[0]
    assert ">Training loss of each step</text>" in picture
    longest = max(re.findall(r' d="([^"]*)"', picture), key=len)
    assert len(longest) > 200
    assert not re.search(r"\.\d{3}", longest)


def test_the_page_of_a_long_run_is_small():
    """A run of 800 steps, drawn with every spike and clipped step, takes less than 130 KB."""
    norms = [1.0 + 0.5 * math.sin(step) + (20.0 if step % 90 == 50 else 0.0) for step in range(800)]
    assert 50_000 < len(record_of(norms, max_norm=1.2).to_html()) < 130_000


def test_a_page_says_what_the_report_says(pages):
    """Findings with their remedies, parameters, events."""
    assert "The norm exploded" in pages["one"]
    assert "layers.0.weight" in pages["one"]
    assert "switch" in pages["one"]
    assert "differs from calm first at step" in pages["two"]
    assert "<h1>Comparison of calm, " in pages["two"]
    assert "<td>final loss</td>" in pages["two"]


def test_what_a_run_does_not_have_takes_no_room():
    """Without parameters there is no table of them, without a duration no line for it."""
    page = RunRecord(RunInfo(), history_of([1.0, 2.0])).to_html()
    assert "<th>Parameter</th>" not in page
    assert "<td>Time</td>" not in page


@pytest.mark.parametrize(("number", "message"), [(0, "must be at least 1"), ("all", "must be a whole number")])
def test_a_wrong_number_of_parameters_is_refused(number, message):
    """As it is for the report."""
    with pytest.raises(ArgumentError, match=message):
        record_of([1.0] * 3).to_html(max_parameters=number)


def test_a_notebook_shows_the_page_in_a_frame(pages):
    """The page is the value of an attribute there, so its quotes are escaped."""
    shown = record_of([1.0] * 30)._repr_html_()
    assert shown.startswith("<iframe ")
    assert shown.count('"') == 4


@pytest.mark.skipif(BROWSER is None, reason="no Chromium")
def test_a_browser_renders_it(pages, tmp_path):
    """A headless Chromium shows the page, and its console stays empty; a request would be a line in it.

    The policy of the page forbids every request, so that a browser reports it instead of making it.
    """
    path = tmp_path / "page.html"
    path.write_text(pages["two"], encoding="utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}", "--enable-logging=stderr"]
    done = subprocess.run(
        [BROWSER, *options, "--dump-dom", path.as_uri()], capture_output=True, text=True, timeout=120, check=True
    )
    assert "The norm exploded" in done.stdout
    assert "CONSOLE" not in done.stderr
    path.write_text(pages["two"].replace("<h1>", '<img src="https://example.com/x.png"><h1>'), encoding="utf-8")
    done = subprocess.run(
        [BROWSER, *options, "--dump-dom", path.as_uri()], capture_output=True, text=True, timeout=120, check=True
    )
    assert "Content Security Policy" in done.stderr  # so the check above can fail

"""The pages as a site: nothing is missing from it, every link leads somewhere, and it needs no network."""

from __future__ import annotations

import json
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from chromium import BROWSER, Tab

pytest.importorskip("zensical", reason="zensical needs Python 3.11")
FETCHED = re.compile(
    r"""<(?:script|img|iframe)[^>]*\ssrc="?(?:https?:)?//|<link[^>]*rel="?stylesheet[^>]*//|url\(https?:"""
)
# The search's own document inside the page.
SEARCH = "[...document.querySelectorAll('*')].find(each => each.shadowRoot?.querySelector('input'))"
SEARCH += "?.shadowRoot"


@pytest.fixture(scope="module")
def site(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make docs` builds it."""
    out = tmp_path_factory.mktemp("docs")
    command = [sys.executable, "docs/build.py", "--out", str(out)]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return out / "site"


@pytest.fixture(scope="module")
def pages(repository: Path) -> list[str]:
    """The places of all pages in the site, sorted."""
    places = runpy.run_path(str(repository / "docs" / "build.py"))["places"]().values()
    return sorted(place for place in places if place.endswith(".md"))


def test_every_page_is_in_the_navigation(repository, pages):
    configuration = (repository / "docs" / "zensical.toml").read_text(encoding="utf-8")
    assert sorted(re.findall(r'= "([^"]+\.md)"', configuration)) == pages


@pytest.mark.slow
def test_a_page_for_each_with_its_words_in_the_search(site, pages):
    made = {path.relative_to(site).with_suffix(".md").as_posix() for path in site.rglob("*.html")}
    assert made == {"404.md", *pages}
    items = json.loads((site / "search.json").read_text(encoding="utf-8"))["items"]
    found = [item["location"] for item in items if "permutohedral" in item["text"].lower()]
    assert any(place.startswith("densecrf.html") for place in found)


@pytest.mark.slow
def test_nothing_comes_from_elsewhere(site):
    fetched = {path.name: FETCHED.findall(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")}
    assert not any(fetched.values()), fetched


@pytest.mark.slow
def test_links_lead_somewhere(site):
    """Also those that Markdown's own check does not see: pictures, tables, and what is written as HTML."""
    missing = []
    for path in site.rglob("*.html"):
        for target in re.findall(r'(?:href|src)="?([^"\s>]+)', path.read_text(encoding="utf-8")):
            name = target.split("#")[0].split("?")[0]
            if name and not re.match(r"[a-z]+:", name) and path.name != "404.html":
                missing += [(path.name, target)] if not (path.parent / name).exists() else []
    assert missing == []


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="needs Chromium")
def test_a_browser_shows_it_from_the_disk_and_finds_words(site, tmp_path):
    tab = Tab(tmp_path / "profile", size=(390, 844))
    try:
        for page in ("start.html", "losses.html", "guides/moving.html"):
            tab.open((site / page).as_uri())
            tab.until("document.readyState == 'complete' && !!document.querySelector('h1')")
            assert tab.js("document.documentElement.scrollWidth") <= 390, page
        tab.js("document.querySelector('.md-header label[for=__search]').click()")
        tab.until(f"{SEARCH}?.activeElement?.tagName == 'INPUT'")
        tab("Input.insertText", text="permutohedral")
        tab.until(f"!!{SEARCH}.querySelector('a[href*=densecrf]')")
        assert tab.complaints == []
        assert [address for address in tab.requests if address.startswith("http")] == []
    finally:
        tab.close()

"""The site of docs/contributing/documentation.md: it builds without a complaint, alone, and what is wrong in a page ends the build."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from ci.site.build import SITE, Gathering, build

ROOT = Path(__file__).parents[2]
LOADING = {("script", "src"), ("link", "href"), ("img", "src"), ("iframe", "src"), ("source", "src"), ("object", "data")}
TAG = re.compile(rf"""<(?:{"|".join(sorted({tag for tag, _ in LOADING}))})\b(?:[^>"']|"[^"]*"|'[^']*')*>""", re.I)
"""Of six megabytes of tags few load something."""
AWAY = re.compile(r"(?:[a-z]+:)?//", re.I)


@pytest.fixture(scope="module")
def site() -> Path:
    """The site where `make docs` puts it too; it is not built again if nothing has changed since."""
    assert build(SITE) == 0
    return SITE


class Loads(HTMLParser):
    """What a browser fetches by itself on opening a page."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        words = dict(attrs)
        if tag == "link" and words.get("rel") in ("search", "index", "next", "prev", "canonical"):
            return
        self.addresses += [value or "" for name, value in attrs if (tag, name) in LOADING]


def test_site_has_every_page_of_the_documentation(site: Path) -> None:
    pages = [path.relative_to(ROOT / "docs") for path in (ROOT / "docs").rglob("*.md")]
    built = [path.with_name("index.html" if path.name == "README.md" else f"{path.stem}.html") for path in pages]
    assert [str(path) for path in built if not (site / path).is_file()] == []


def test_site_has_examples_and_values_of_the_charts(site: Path) -> None:
    outside = [path.parent for path in (*ROOT.glob("examples/*/README.md"), *ROOT.glob("charts/*/README.md"))]
    assert len(outside) > 8
    assert [str(path) for path in outside if not (site / path.relative_to(ROOT) / "index.html").is_file()] == []


def test_pages_load_nothing_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        reader = Loads()
        for tag in TAG.findall(page.read_text(encoding="utf-8")):
            reader.reset()  # what follows a script's tag would be its text
            reader.feed(tag)
        assert [address for address in reader.addresses if AWAY.match(address)] == [], page.name
    for style in site.rglob("*.css"):
        assert not re.search(r"(?:url\(\s*['\"]?|@import\s+['\"])(?:https?:)?//", style.read_text(encoding="utf-8")), style.name


def test_navigation_is_by_what_a_reader_wants(site: Path) -> None:
    start = (site / "index.html").read_text(encoding="utf-8")
    sections = re.findall(r'class="toctree-l1[^"]*"><a class="reference internal" href="([^"]+)"', start)
    assert sections[:4] == ["tutorials/index.html", "how-to/index.html", "reference/index.html", "explanation/index.html"]


def test_whatever_is_broken_is_named_and_ends_the_build(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Also if a page was good when it was read, and what it links to has changed since; others are not written again."""
    folder = tmp_path / "docs" / "how-to"
    folder.mkdir(parents=True)
    (tmp_path / "docs" / "README.md").write_text("# Start\n\n- [How-to](how-to/README.md)\n")
    (folder / "README.md").write_text("# How-to\n\n- [The `one` thing](one.md)\n- [Two](two.md)\n- [Four](four.md)\n")
    (folder / "one.md").write_text("# One\n\n## A part\n\n## Another\n")
    (folder / "two.md").write_text("# Two\n\n[there](one.md#another)\n")
    (folder / "three.md").write_text("---\norphan: true\n---\n# Three\n")
    (folder / "four.md").write_text("# Four\n")
    assert build(tmp_path / "site", tmp_path) == 0, capfd.readouterr().err
    written = (tmp_path / "site-work" / "site" / "how-to" / "four.html").stat().st_mtime_ns
    (folder / "one.md").write_text(
        "# One\n\n## A part\n\n[here](#a-part), not `[there](nowhere.md)`\n\n"
        "[no page](none.md), [no heading](four.md#nothing), ![no picture](picture.png)\n"
    )
    (folder / "three.md").write_text("# Three\n")
    assert build(tmp_path / "site", tmp_path) != 0
    told = capfd.readouterr().err
    complaints = [line.partition("/source/how-to/")[2] for line in told.splitlines() if "WARNING" in line]
    assert len(complaints) == 5, told
    pairs = (("one.md", "none.md"), ("one.md", "nothing"), ("one.md", "picture.png"), ("two.md", "another"), ("three.md", "toctree"))
    for page, word in pairs:
        assert any(line.startswith(page) and word in line for line in complaints), word
    assert (tmp_path / "site-work" / "site" / "how-to" / "four.html").stat().st_mtime_ns == written


def test_links_that_leave_the_documentation_lead_to_copies() -> None:
    gathered = Gathering(ROOT)
    assert {page.parts[0] for page in gathered.pages} >= {"docs", "examples", "charts"}
    assert all((ROOT / file).is_file() for file in gathered.files)

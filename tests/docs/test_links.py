"""Every page can be reached and every link leads somewhere."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s#]+)(?:#[^)]*)?\)")


def pages() -> list[Path]:
    return [*DOCS.rglob("*.md"), *ROOT.glob("*.md"), *(ROOT / "examples").rglob("*.md")]


def links(page: Path) -> list[Path]:
    text = re.sub(r"```.*?```|``.*?``|`[^`\n]*`", "", page.read_text(), flags=re.S)
    return [(page.parent / target).resolve() for target in LINK.findall(text) if "://" not in target and not target.startswith("mailto:")]


def test_every_link_between_pages_leads_somewhere() -> None:
    broken = [f"{page.relative_to(ROOT)} -> {target}" for page in pages() for target in links(page) if not target.exists()]
    assert broken == []


def test_every_page_is_reachable_from_the_index() -> None:
    reached: set[Path] = set()
    open_pages = [(DOCS / "README.md").resolve()]
    while open_pages:
        page = open_pages.pop()
        if page in reached:
            continue
        reached.add(page)
        open_pages += [target for target in links(page) if target.suffix == ".md"]
    unreachable = sorted(str(page.relative_to(ROOT)) for page in DOCS.rglob("*.md") if page.resolve() not in reached)
    assert unreachable == []


def test_every_page_begins_with_a_title() -> None:
    assert [str(page) for page in pages() if not page.read_text().startswith("# ")] == []

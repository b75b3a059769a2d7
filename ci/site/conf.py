"""Sphinx's settings for the documentation site. Read by `ci/site/build.py`; nothing here reaches for the network."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

project = "Asya"
release = version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
copyright = "the authors of Asya, Apache License 2.0"
extensions = ["myst_parser"]
nitpicky = True
suppress_warnings = [
    "misc.highlighting_failure",  # a block that shows an excerpt with an ellipsis is still shown
    "myst.header",  # a table of results begins at the level that its writer gave it
]
highlight_language = "text"

# The dialect of plain Git hosting: CommonMark, tables, links to headings by their slug.
myst_heading_anchors = 4

html_theme = "furo"
html_title = f"Asya {release}"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
html_last_updated_fmt = None  # the same pages give the same bytes

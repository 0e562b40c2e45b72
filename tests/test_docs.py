"""The documentation: links lead somewhere, paths exist, and what it says about imports is true.

`python -m tests.test_docs` writes the list of imports from tests/support/arrows.py into the pages
that show it.
"""

from __future__ import annotations

import html
import os
import re
import subprocess
import sys
import textwrap
from functools import cache
from pathlib import Path
from urllib.parse import unquote

import pytest
import yaml

from tests.support.arrows import ARROWS

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (
        *ROOT.glob("*.md"),
        *(ROOT / "docs").glob("*.md"),
        *(ROOT / ".github").rglob("*.md"),
        *(ROOT / "benchmarks").glob("*.md"),
    )
)
IN_SITE = {"CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "benchmarks/README.md", "README.md"}
"""Pages outside docs/ that the site has too; docs/hooks.py adds them."""
SHOW_ARROWS = ("CONTRIBUTING.md", "docs/architecture.md")
ARROW_BLOCK = re.compile(r"(<!-- imports -->\n)(.*?)(<!-- end of imports -->)", re.DOTALL)
FENCE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"(?<!\!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
CODE_PATH = re.compile(r"`((?:comptrust|tests|benchmarks|pipelines|validation|docs)/[\w./-]*)`")
WRITTEN_BY_TESTS = {"tests/artifacts/"}
NOT_LINES = re.compile(r"^\s*(\||!?\[[^\]]*\]\(|https?://)")
"""Lines that may be long: tables, and lines that are one link."""


@cache
def prose(page: str) -> str:
    """Return a page without its fenced code."""
    return FENCE.sub("", (ROOT / page).read_text(encoding="utf-8"))


@cache
def anchors(page: str) -> set[str]:
    """Return the anchors that GitHub gives the headings of a page."""
    headings = re.findall(r"^#{1,6} (.+)$", prose(page), re.MULTILINE)
    plain = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading) for heading in headings]
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in plain}


def links(page: str) -> list[str]:
    """Return the targets of links and pictures that are not on another server."""
    targets = [link or picture for link, picture in LINK.findall(prose(page))]
    return [target for target in targets if not re.match(r"https?://|mailto:", target)]


def arrows() -> str:
    """Return the list of imports between packages that pages show."""
    width = max(map(len, ARROWS))
    order = list(ARROWS)
    lines = []
    for package, targets in ARROWS.items():
        names = ", ".join(sorted(targets, key=order.index)) or "none of these"
        start = f"{package:<{width}} imports "
        lines += textwrap.wrap(start + names, 100, subsequent_indent=" " * len(start))
    return "\n".join(["```text", *lines, "```", ""])


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    for target in links(page):
        path, _, anchor = target.partition("#")
        file = (ROOT / page).parent / unquote(path) if path else ROOT / page
        assert file.resolve().is_relative_to(ROOT) and file.exists(), f"{page}: {target}"
        if anchor:
            name = file.resolve().relative_to(ROOT).as_posix()
            assert anchor in anchors(name), f"{page}: {target}"


@pytest.mark.parametrize("page", [page for page in PAGES if page.startswith("docs/")])
def test_a_page_of_the_site_links_only_to_what_the_site_has(page: str) -> None:
    for target in links(page):
        path = target.partition("#")[0]
        file = ((ROOT / page).parent / path).resolve().relative_to(ROOT).as_posix()
        assert not path or file.startswith("docs/") or file in IN_SITE, f"{page}: {target}"


@pytest.mark.parametrize("page", [page for page in PAGES if page != "CHANGELOG.md"])
def test_paths_named_in_text_exist(page: str) -> None:
    for path in CODE_PATH.findall(prose(page)):
        assert path in WRITTEN_BY_TESTS or (ROOT / path).exists(), f"{page}: {path}"


@pytest.mark.parametrize("page", PAGES)
def test_lines_are_short_and_name_no_machine(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    assert not re.search(r"/work/|/home/|/tmp/", text)
    for number, line in enumerate(text.splitlines(), 1):
        assert len(line) <= 100 or NOT_LINES.match(line), f"{page}:{number}"


def test_every_page_is_in_the_navigation() -> None:
    class Loader(yaml.SafeLoader):
        """Reads mkdocs.yml, whose Python tags only mkdocs understands."""

    Loader.add_multi_constructor("tag:yaml.org,2002:python/", lambda *_: None)
    site = yaml.load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"), Loader)
    assert site["theme"]["font"] is False
    named = set(re.findall(r"[\w-]+\.md", str(site["nav"])))
    pages = {Path(page).name for page in PAGES if page.startswith("docs/")}
    assert named - pages == {"contributing.md", "security.md", "changelog.md", "benchmarks.md"}
    assert pages <= named


@pytest.mark.parametrize("page", SHOW_ARROWS)
def test_the_imports_shown_are_those_of_the_table(page: str) -> None:
    block = ARROW_BLOCK.search((ROOT / page).read_text(encoding="utf-8"))
    assert block and block[2] == arrows(), "run: python -m tests.test_docs"


def test_the_readme_names_every_command() -> None:
    from comptrust.cli.app import comptrust

    named = set(re.findall(r"^    comptrust ([a-z]+)\s", (ROOT / "README.md").read_text(), re.M))
    assert named == set(comptrust.list_commands(None))  # type: ignore[arg-type]


@pytest.mark.install
def test_the_site_builds_and_its_links_lead_somewhere(tmp_path: Path) -> None:
    site = tmp_path / "site"
    python = str(tmp_path / "environment" / "bin" / "python")
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "environment")], check=True)
    install = [python, "-m", "pip", "install", "--quiet", "-r", "docs/requirements.txt"]
    subprocess.run(install, cwd=ROOT, check=True)
    command = [python, "-m", "mkdocs", "build", "--strict", "--site-dir", str(site)]
    quiet = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=quiet, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr, done.stderr
    for page in site.glob("*.html"):
        text = page.read_text(encoding="utf-8")
        loaded = re.findall(r"<(?:link|script|img)\b[^>]*\b(?:href|src)=\"?([^\">\s]+)", text)
        assert not [url for url in loaded if re.match(r"(https?:)?//", url)], page.name
        for url in [*loaded, *re.findall(r"<a\b[^>]*\bhref=\"?([^\">\s]+)", text)]:
            path, _, anchor = html.unescape(url).partition("#")
            if re.match(r"[a-z]+:|/", path):
                continue
            target = site / unquote(path.partition("?")[0]) if path not in ("", ".") else page
            assert target.exists(), f"{page.name}: {url}"
            if anchor and target.suffix == ".html" and not anchor.startswith("__"):
                ids = re.findall(r"\bid=\"?([^\">\s]+)", target.read_text(encoding="utf-8"))
                assert unquote(anchor) in ids, f"{page.name}: {url}"


if __name__ == "__main__":
    for name in SHOW_ARROWS:
        source = (ROOT / name).read_text(encoding="utf-8")
        changed = ARROW_BLOCK.sub(lambda match: match[1] + arrows() + match[3], source)
        (ROOT / name).write_text(changed, encoding="utf-8")

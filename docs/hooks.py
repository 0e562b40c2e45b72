"""What the site needs beyond docs/: pages from the top folder, and links that work in both places.

Pages link to each other as GitHub shows them (`../CONTRIBUTING.md`). In the site all pages are in
one folder, so their links are rewritten.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
OUTSIDE = {
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changelog.md",
    "benchmarks/README.md": "benchmarks.md",
}
"""Path in the repository -> name in the site, for pages that are not in docs/."""
NAMES = {**OUTSIDE, "README.md": "index.md"}
LINK = re.compile(r"(!?\[[^\]]*\]\()([^)\s#]+)(#[^)\s]*)?\)")


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that are not in docs/."""
    from mkdocs.structure.files import File

    for path, name in OUTSIDE.items():
        text = (ROOT / path).read_text(encoding="utf-8")
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Rewrite the links of one page."""
    origins = {name: path for path, name in OUTSIDE.items()}
    origin = origins.get(page.file.src_uri, f"docs/{page.file.src_uri}")
    return LINK.sub(lambda match: rewritten(match, posixpath.dirname(origin)), markdown)


def rewritten(match: re.Match[str], folder: str) -> str:
    """Return one link as the site needs it; addresses stay as they are."""
    text, target, anchor = match[1], match[2], match[3] or ""
    if "://" in target or target.startswith("mailto:"):
        return match[0]
    path = posixpath.normpath(posixpath.join(folder, target))
    return f"{text}{NAMES.get(path, path.removeprefix('docs/'))}{anchor})"

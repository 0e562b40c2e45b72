"""The evidence map: which file of a bundle answers which item of evidence_map.yaml, if any."""

from collections.abc import Collection, Set
from pathlib import Path

import yaml

from comptrust import config
from comptrust.records import Record
from comptrust.report.bundle import Bundle
from comptrust.report.markup import markdown_table

NAME = "evidence-map.md"
NOTHING = "nothing in this bundle"
INTRO = """# Evidence map of {name}, {slug}

This table says where in this bundle someone who documents a model finds evidence, and where they
find none. It is not a claim of conformity with the EU AI Act or the NIST AI RMF, and not legal
advice. "In part" means that the rest of the item is not answered here.
"""
OTHERS = """
No file answers the other subcategories, which are about the organization or the system around the
model: {names}.
"""


class Row(Record):
    """One item of a document."""

    item: str
    text: str
    files: tuple[str, ...]
    """Files with an answer; those that the bundle does not have are left out."""
    any_of: tuple[str, ...] = ()
    """Facts of which one must be known: a measured dimension, a rule of the verdict, `license`."""
    says: str


class Section(Record):
    """One document, or a part of it."""

    title: str
    rows: tuple[Row, ...]
    others: tuple[str, ...] = ()
    """Items that no file answers."""


def render(bundle: Bundle, files: Collection[str]) -> str:
    """Return the map as Markdown; `files` are the names of all files of the bundle."""
    verdict, scorecard = bundle.verdict, bundle.measured.scorecard
    facts = {score.dimension for score in scorecard.scores if score.value is not None}
    facts |= {finding.rule for finding in verdict.findings} | set(bundle.license)
    intro = INTRO.format(name=bundle.version.name, slug=bundle.checkpoint.recipe.slug)
    return "\n".join([intro, *(_section(section, files, facts) for section in sections())])


def sections() -> list[Section]:
    """Return the documents with their items."""
    path = Path(__file__).with_name("evidence_map.yaml")
    rows = yaml.safe_load(config.read_text(path))
    return [config.parse(row, Section, where=str(path)) for row in rows]


def _section(section: Section, files: Collection[str], facts: Set[str]) -> str:
    rows = []
    for row in section.rows:
        present = [name for name in row.files if name in files]
        answered = present and (not row.any_of or not facts.isdisjoint(row.any_of))
        says = row.says
        if row.files and not answered:
            says = "Not measured, or not stated."
        rows.append((row.item, row.text, ", ".join(present) if answered else NOTHING, says))
    table = markdown_table(("item", "text", "answered by", "what is there"), rows)
    others = OTHERS.format(names=", ".join(section.others)) if section.others else ""
    return f"## {section.title}\n\n{table}{others}"

"""The skeletons of pages: Jinja templates beside this file; in HTML every value is escaped."""

from pathlib import Path

import jinja2
from markupsafe import Markup

from comptrust.report import markup
from comptrust.verdict_html import MARKS

STYLE = Path(__file__).with_name("page.css").read_text(encoding="utf-8")
TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent),
    autoescape=jinja2.select_autoescape(["html"]),
    undefined=jinja2.StrictUndefined,
)
FILTERS = (markup.narrow_heading, markup.number, markup.percent, markup.spaced, markup.visible)
TEMPLATES.filters |= {function.__name__: function for function in FILTERS}


def fill(template: str, /, **values: object) -> Markup:
    """Return a template filled with values; only those of the type Markup may contain markup."""
    return Markup(TEMPLATES.get_template(template).render(marks=MARKS, **values))


def page(
    title: str,
    body: Markup,
    *,
    heading: str = "",
    verdict: str = "",
    facts: dict[str, str] | None = None,
    sections: dict[str, str] | None = None,
    script: str = "",
) -> str:
    """Return a whole page that loads nothing else; `sections` are id -> name, to jump to."""
    return fill(
        "page.html",
        title=title,
        style=Markup(STYLE),
        heading=heading or title,
        verdict=verdict,
        facts=facts or {},
        sections=sections or {},
        body=body,
        script=Markup(script),
    )

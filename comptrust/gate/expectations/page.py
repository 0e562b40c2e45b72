"""The results of one Great Expectations suite as one small HTML page that loads nothing."""

from typing import TYPE_CHECKING, Any

from jinja2 import Environment

if TYPE_CHECKING:
    from great_expectations.core import (
        ExpectationSuiteValidationResult,
        ExpectationValidationResult,
    )

MAX_ROWS = 100
"""Failing rows that the page lists for each expectation; the JSON beside it lists all."""

TEMPLATE = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string("""\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ name }}: {{ "passed" if passed else "failed" }}</title>
<style>
  :root { color-scheme: light dark; }
  body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem;
         padding: 0 1rem; }
  table { border-collapse: collapse; width: 100%; }
  th, td { border-bottom: 1px solid #8884; padding: .4rem .6rem; text-align: left;
           vertical-align: top; overflow-wrap: anywhere; }
  .failed { color: #c62828; font-weight: 600; }
  small { opacity: .75; }
</style>
<h1>{{ name }}: <span{% if not passed %} class="failed"{% endif %}>
{{- "✓ passed" if passed else "✕ failed" }}</span></h1>
<p>{{ rows|length }} checks by Great Expectations {{ version }}. Details: {{ name }}.json</p>
<table>
<thead><tr><th>expected</th><th>check</th><th>found</th><th>result</th></tr></thead>
<tbody>
{% for row in rows %}
<tr>
<td>{{ row.meaning }}</td>
<td>{{ row.type }}<br><small>{{ row.settings }}</small></td>
<td>{{ row.found }}
{%- if row.failing %}<ul>
{% for item in row.failing[:max_rows] %}<li>{{ item }}</li>
{% endfor %}
</ul>{% if row.failing|length > max_rows %}and {{ row.failing|length - max_rows }} more{% endif %}
{%- endif %}</td>
<td{% if not row.passed %} class="failed"{% endif %}>
{{- "✓ pass" if row.passed else "✕ fail" }}</td>
</tr>
{% endfor %}
</tbody>
</table>
</html>
""")


def render(result: "ExpectationSuiteValidationResult", *, name: str) -> str:
    """Return the page: what each expectation expected and found, and the rows that fail it."""
    import great_expectations as gx

    return TEMPLATE.render(
        name=name,
        passed=result.success,
        version=gx.__version__,
        rows=[_row(item) for item in result.results],
        max_rows=MAX_ROWS,
    )


def _row(item: "ExpectationValidationResult") -> dict[str, Any]:
    config, details = item.expectation_config, item.result or {}
    settings = {
        key: value for key, value in (config.kwargs if config else {}).items() if key != "batch_id"
    }
    failing = [str(index.get("row", "")) for index in details.get("unexpected_index_list") or ()]
    count, total = details.get("unexpected_count"), details.get("element_count")
    if details.get("observed_value") is not None:
        found = str(details["observed_value"])
    elif count is not None:
        found = f"not true of {count} of {total} rows" if count else f"true of {total} rows"
    else:
        found = "could not be checked"
    return {
        "meaning": (config.meta or {}).get("meaning", "") if config else "",
        "type": config.type if config else "",
        "settings": ", ".join(f"{key}: {value}" for key, value in settings.items()),
        "found": found,
        "failing": failing,
        "passed": item.success,
    }

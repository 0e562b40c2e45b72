"""The page: all figures in one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence

from comptrust.report import card, curve, heatmap, leaderboard, tradeoff
from comptrust.report.base import Entry, escape, fold

STYLE = """
body{font:15px/1.4 system-ui,sans-serif;margin:1rem;color:#111;background:#fff}.wide{overflow-x:auto}
table{border-collapse:collapse;font-size:.85rem}th,td{padding:.25rem .5rem;border-bottom:1px solid #ccc;text-align:left;white-space:nowrap}
td.number,.heat td{text-align:right}thead button{font:inherit;font-weight:600;border:0;background:none;padding:0;cursor:pointer}
.panels{display:flex;flex-wrap:wrap;gap:1rem}.panels svg,svg.forest{width:100%;max-width:360px;height:auto}
details.card{border:1px solid #ccc;padding:.5rem;margin:.5rem 0}.card td{white-space:normal}
"""
SCRIPT = """
const table=document.getElementById('leaderboard'),body=table.tBodies[0],box=document.getElementById('filter');
const heads=[...table.tHead.querySelectorAll('button')];
function value(row,i){const c=row.cells[i];return c.dataset.value===undefined?c.textContent:c.dataset.value===''?null:+c.dataset.value}
function sort(name,up){const i=heads.findIndex(h=>h.dataset.column===name);if(i<0)return;
[...body.rows].sort((a,b)=>{const x=value(a,i),y=value(b,i);if(x===null||y===null)return (x===null)-(y===null);
return (x<y?-1:x>y?1:0)*(up?1:-1)}).forEach(r=>body.append(r));
heads.forEach((h,j)=>h.parentNode.setAttribute('aria-sort',j!==i?'none':up?'ascending':'descending'))}
function filter(){const words=box.value.toLowerCase().split(/\\s+/);let n=0;for(const r of body.rows){
r.hidden=!words.every(w=>r.textContent.toLowerCase().includes(w));n+=!r.hidden}
document.getElementById('shown').textContent=n+' of '+body.rows.length+' rows'}
heads.forEach(h=>h.onclick=()=>sort(h.dataset.column,h.parentNode.getAttribute('aria-sort')==='descending'));
box.oninput=filter;const asked=new URLSearchParams(location.hash.slice(1));
if(asked.get('sort'))sort(asked.get('sort'),asked.get('order')==='up');box.value=asked.get('filter')||'';filter();
"""


def render(entries: Sequence[Entry], *, smaller: dict[str, str] | None = None) -> str:
    """Return the whole report. `smaller` names, per dense source, the smaller dense model to compare with."""
    groups, named = fold(entries), smaller or {}
    cards = "".join(card.verdict_card(entry) for group in groups for entry in group.entries if entry.verdict is not None)
    sections = {
        "Leaderboard": leaderboard.render(groups),
        "Difference to the dense source at half its size": "<p>Points; blue gains, red drops; ● where the refusal rate moved more than "
        f"10 points; – not measured.</p>{heatmap.render(groups, smaller=named)}",
        "Score against bits": curve.render(groups, smaller=named),
        "Size against worst drop": tradeoff.render(groups),
        "Verdicts": cards or "<p>No version has been judged.</p>",
    }
    text = "".join(f"<section><h2>{title}</h2>{content}</section>" for title, content in sections.items())
    return _page("comptrust report", f"<h1>comptrust report</h1>{text}<script>{SCRIPT}</script>")


def render_card(entry: Entry) -> str:
    """Return one version's verdict card as a page of its own."""
    return _page(f"comptrust: {escape(entry.name)}", card.verdict_card(entry, opened=True))


def _page(title: str, body: str) -> str:
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1"><title>{title}</title>'
    return f'<!doctype html><html lang="en"><head>{head}<style>{STYLE}</style></head><body>{body}</body></html>'

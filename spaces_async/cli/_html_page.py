"""What the HTML of all reports is made of: one page, without a script or a link.

All text is escaped here, for it may come from the Hub.
"""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Final

from spaces_async.cli._text import clean

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

__all__ = ["document", "escaped", "folded", "table", "tiles"]

_STYLE: Final = """
:root{color-scheme:light dark;--line:#d0d7de;--dim:#59636e;--card:#f6f8fa}
@media(prefers-color-scheme:dark){:root{--line:#3d444d;--dim:#9198a1;--card:#151b23}}
body{font:15px/1.5 system-ui,sans-serif;max-width:64rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.6rem;margin:0}h2{font-size:1.15rem;margin:2rem 0 .6rem}
.dim{color:var(--dim)}.totals{display:flex;flex-wrap:wrap;gap:.7rem;margin:1.2rem 0}
.total{background:var(--card);border:1px solid var(--line);border-left:.4rem solid;
border-radius:.4rem;padding:.5rem 1rem;min-width:5.5rem}
.total b{display:block;font-size:1.6rem;line-height:1.2}.total span{color:var(--dim)}
.cause{background:var(--card);border:1px solid var(--line);border-left:.4rem solid;
border-radius:.4rem;padding:.6rem 1rem;margin:.7rem 0;overflow-wrap:anywhere}
.cause h3{font-size:1rem;margin:0}.cause p{margin:.35rem 0}
pre{overflow-x:auto;border:1px solid var(--line);border-radius:.3rem;padding:.5rem;
font-size:.85rem}code{font-size:.9em}
table{border-collapse:collapse;width:100%;font-size:.92rem}
th,td{text-align:left;padding:.25rem .6rem;border-bottom:1px solid var(--line);
vertical-align:top;overflow-wrap:anywhere}
svg{display:block;width:100%;height:auto}svg text{fill:currentColor}
th.n,td.n{text-align:right;white-space:nowrap}
tr.bad td{color:#c9302c;font-weight:600}tr.dim td{color:var(--dim)}
summary{cursor:pointer;font-weight:600;margin:.5rem 0}
.cause summary{font-weight:400;color:var(--dim);margin:0}
.legend i{display:inline-block;width:.8em;height:.8em;
margin:0 .35em 0 .9em}
"""


def document(title: str, below: str, parts: Iterable[str]) -> str:
    """Return a whole page.

    Args:
        title: Its title.
        below: A line below that.
        parts: What follows, as HTML.
    """
    name = escaped(title)
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width,initial-scale=1">\n'
        f"<title>{name}</title>\n<style>{_STYLE}</style></head>\n<body>\n"
        f'<h1>{name}</h1>\n<p class="dim">{escaped(below)}</p>\n'
        + "\n".join([*parts, "</body></html>\n"])
    )


def tiles(totals: Iterable[tuple[str, str, str]]) -> str:
    """Return the totals side by side.

    Args:
        totals: A number, what it counts, and its colour.
    """
    shown = [
        f'<div class="total" style="border-left-color:{colour}">'
        f"<b>{escaped(number)}</b><span>{escaped(what)}</span></div>"
        for number, what, colour in totals
    ]
    return f'<div class="totals">{"".join(shown)}</div>'


def table(
    titles: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    numbers: Collection[int] = (),
    classes: Sequence[str] | None = None,
) -> str:
    """Return a table.

    Args:
        titles: The titles of the columns.
        rows: Their cells.
        numbers: Which columns stand at the right.
        classes: The class of each row, "" for none; None is none for all.
    """

    def line(tag: str, cells: Sequence[str]) -> str:
        shown: list[str] = []
        for at, cell in enumerate(cells):
            mark = ' class="n"' if at in numbers else ""
            shown.append(f"<{tag}{mark}>{escaped(cell)}</{tag}>")
        return "".join(shown)

    lines = [f"<tr>{line('th', titles)}</tr>"]
    for number, row in enumerate(rows):
        kind = classes[number] if classes else ""
        mark = f' class="{kind}"' if kind else ""
        lines.append(f"<tr{mark}>{line('td', row)}</tr>")
    return "<table>{}</table>".format("\n".join(lines))


def folded(summary: str, inner: str, *, is_open: bool = False) -> str:
    """Return what is shown when somebody asks for it.

    Args:
        summary: What it is.
        inner: It, as HTML.
        is_open: Whether it is shown at once.
    """
    mark = " open" if is_open else ""
    return f"<details{mark}><summary>{escaped(summary)}</summary>{inner}</details>"


def escaped(text: str) -> str:
    """Return a text as HTML: escaped, and without control characters."""
    return html.escape(clean(text))

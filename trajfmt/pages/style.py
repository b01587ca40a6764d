"""The style sheet of a page: light, dark and paper, wide and narrow."""

from __future__ import annotations

from typing import Final

__all__ = ["STYLE"]

STYLE: Final = """
:root {
  --paper: #fff; --page: #f6f7f9; --ink: #1a2230; --soft: #566072; --line: #dfe3ea; --grid: #e8ebf0;
  --accent: #0b5cad; --warm: #fdf6e7; --edge: #e7c66b;
  --c0: #0072b2; --c1: #d55e00; --c2: #009e73; --c3: #a8518a; --c4: #b07a00; --c5: #3c8dbc;
  --r0: #440154; --r1: #472d7b; --r2: #3b528b; --r3: #2c728e; --r4: #21918c; --r5: #28ae80; --r6: #4fb458;
  --r7: #86b02f; --r8: #b5a20e;
}
@media screen and (prefers-color-scheme: dark) {
  :root {
    --paper: #171c24; --page: #10141a; --ink: #e6eaf0; --soft: #a0aaba; --line: #2d3542; --grid: #262d38;
    --accent: #7db8f0; --warm: #2b2618; --edge: #8a7330;
    --c0: #56b4e9; --c1: #f28e4b; --c2: #3fc79a; --c3: #dd94c0; --c4: #e6b33d; --c5: #9dcdf0;
    --r0: #b79ae6; --r1: #9b95e2; --r2: #7f97dd; --r3: #62a8d2; --r4: #45b5b5; --r5: #4fc596; --r6: #85cf76;
    --r7: #b7d35c; --r8: #e5d24f;
  }
}
* { box-sizing: border-box; }
html { color-scheme: light dark; -webkit-text-size-adjust: 100%; scroll-behavior: smooth; }
body {
  margin: 0 auto; padding: 2.5rem 1.5rem 3rem; max-width: 68rem; background: var(--page); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
  font-variant-numeric: tabular-nums; overflow-wrap: break-word;
}
h1 { margin: 0; font-size: 1.9rem; line-height: 1.2; letter-spacing: -0.015em; overflow-wrap: anywhere; }
h2 { margin: 0 0 .9rem; font-size: 1.3rem; line-height: 1.3; overflow-wrap: anywhere; }
h3 { margin: 2rem 0 .6rem; font-size: 1.02rem; }
.title { margin: 0 0 .5rem; font-size: .9rem; font-weight: 600; }
.remark { color: var(--soft); font-size: .85rem; }
p { margin: 0 0 .8rem; max-width: 46rem; }
.lead { margin: .5rem 0 0; color: var(--soft); }
a { color: var(--accent); text-underline-offset: .15em; }
code { font: .92em ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; overflow-wrap: anywhere; }
nav ul {
  display: flex; flex-wrap: wrap; gap: .3rem 1.1rem; margin: 1.2rem 0 0; padding: 0; list-style: none;
}
nav a { font-size: .92rem; overflow-wrap: anywhere; }
main > section {
  margin-top: 1.4rem; padding: 1.5rem 1.6rem; background: var(--paper); border: 1px solid var(--line);
  border-radius: .6rem;
}
main > section > section { margin-top: 1.8rem; padding-top: .2rem; border-top: 1px solid var(--line); }
main > section > section > h3 { margin-top: 1.2rem; }
footer { margin-top: 1.5rem; color: var(--soft); font-size: .85rem; overflow-wrap: anywhere; }
.tiles {
  display: grid; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); gap: 1rem 1.4rem;
  margin: 0 0 1rem;
}
.tiles dt { color: var(--soft); font-size: .82rem; }
.tiles dd { margin: .1rem 0 0; font-size: 1.35rem; font-weight: 600; line-height: 1.25; }
.tiles small {
  display: block; color: var(--soft); font-size: .8rem; font-weight: 400; letter-spacing: 0; line-height: 1.4;
}
.note {
  padding: .55rem .8rem; background: var(--warm); border-left: 3px solid var(--edge); border-radius: .2rem;
  font-size: .92rem;
}
.figures {
  display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 23rem), 1fr)); gap: 1.6rem 2rem;
  margin: 1rem 0;
}
figure { margin: 0; min-width: 0; }
figcaption { margin-top: .45rem; color: var(--soft); font-size: .85rem; line-height: 1.5; }
.chart { display: block; width: 100%; height: auto; max-width: 34rem; overflow: visible; }
.chart text { fill: var(--soft); font-size: 12px; font-family: inherit; }
.chart .label { fill: var(--ink); font-size: 12.5px; }
.chart .end {
  fill: var(--ink); font-weight: 600; paint-order: stroke; stroke: var(--paper); stroke-width: 4px;
}
.grid { stroke: var(--grid); } .axis, .tick { stroke: var(--soft); } .mark { stroke: var(--soft); }
.mark { stroke-dasharray: 2 4; }
polyline { fill: none; stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; }
polyline.thin { stroke-width: 1.4; } .band { stroke: none; fill-opacity: .18; }
.chord { stroke: var(--c1); stroke-dasharray: 5 4; stroke-width: 1.6; }
.ring { fill: var(--paper); stroke: var(--c1); stroke-width: 2; }
COLOURS
.swatch { display: inline-block; width: .85em; height: .85em; border-radius: .15em; }
.legend {
  display: flex; flex-wrap: wrap; gap: .2rem 1rem; margin: .35rem 0 0; padding: 0; list-style: none;
  font-size: .85rem; align-items: center; overflow-wrap: anywhere;
}
.legend li { display: flex; gap: .4rem; align-items: center; } .legend li .swatch { flex: none; }
.scale { display: inline-flex; } .scale .swatch { border-radius: 0; width: .9em; }
.scroll { margin: 1rem 0; overflow-x: auto; }
table { width: 100%; border-collapse: collapse; font-size: .9rem; line-height: 1.4; }
caption { padding-bottom: .4rem; text-align: left; font-weight: 600; font-size: .9rem; }
th, td {
  padding: .38rem .9rem .38rem 0; text-align: left; vertical-align: top;
  border-bottom: 1px solid var(--line);
}
th:last-child, td:last-child { padding-right: 0; }
thead th { color: var(--soft); font-weight: 500; font-size: .82rem; vertical-align: bottom; }
tbody th { font-weight: 500; }
td, tbody th { min-width: 5rem; } td { overflow-wrap: anywhere; } tbody th { overflow-wrap: break-word; }
figure caption {
  position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%);
}
main > section > :last-child, main section > section > :last-child { margin-bottom: 0; }
.number { text-align: right; white-space: nowrap; min-width: 0; overflow-wrap: normal; }
td.wide { width: 45%; min-width: 8rem; }
.bar { display: block; width: 100%; height: .85rem; margin-top: .2rem; } .rest { fill: var(--grid); }
.spark { display: block; width: 120px; height: 26px; }
.differs th::after { content: " differs"; color: var(--c1); font-size: .75rem; font-weight: 600; }
.gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(7rem, 1fr)); gap: 1rem; }
.gallery figcaption { margin-top: .25rem; overflow-wrap: anywhere; }
.gallery.rows { grid-template-columns: repeat(auto-fill, minmax(min(100%, 21rem), 1fr)); }
.gallery img {
  display: block; max-width: 100%; height: auto; image-rendering: pixelated; border-radius: .2rem;
}
:focus-visible { outline: 2px solid var(--accent); outline-offset: 3px; border-radius: .2rem; }
@media (max-width: 40rem) {
  body { padding: 1.5rem .8rem 2rem; } main > section { padding: 1.1rem 1rem; } h1 { font-size: 1.5rem; }
}
@media (prefers-reduced-motion: reduce) { html { scroll-behavior: auto; } }
@media print {
  @page { margin: 15mm; }
  :root { --page: #fff; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  body { max-width: none; padding: 0; font-size: 10.5pt; } nav { display: none; }
  main > section { padding: 0; border: 0; border-radius: 0; margin-top: 1.6rem; }
  figure, tr, .tiles, .note { break-inside: avoid; } h2, h3, .title, .lead, caption { break-after: avoid; }
  .scroll { overflow: visible; } .figures { grid-template-columns: 1fr 1fr; gap: 1.2rem 1.4rem; }
}
""".replace(
    "COLOURS",
    "\n".join(
        f".{name} {{ stroke: var(--{name}); fill: var(--{name}); background: var(--{name}); }}"
        f" polyline.{name} {{ fill: none; }} rect.{name}, circle.{name}, .band.{name} {{ stroke: none; }}"
        for name in [*(f"c{n}" for n in range(6)), *(f"r{n}" for n in range(9))]
    ),
)

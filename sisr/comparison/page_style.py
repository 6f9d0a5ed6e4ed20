"""Style and script of the page of a comparison. Both stand in the page itself, and its policy admits them by hash."""

STYLE = """
:root {
  color-scheme: light dark;
  --ground: #fbfbfa; --card: #fff; --ink: #1b1f24; --soft: #5b6470; --line: #e2e4e8; --link: #0b5cad;
  --better: #00704f; --better-ground: #e4f5ef; --worse: #a84400; --worse-ground: #fdeee3;
  --same: #48505c; --same-ground: #eef0f3; --unknown: #7a5b00; --unknown-ground: #fbf3d9;
  --c0: #0072b2; --c1: #d55e00; --c2: #009e73; --c3: #cc79a7; --c4: #56b4e9; --c5: #e69f00;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #14171b; --card: #1c2026; --ink: #e7e9ec; --soft: #a3abb6; --line: #333a44; --link: #7db8ef;
    --better: #57d3a9; --better-ground: #12372d; --worse: #f5a267; --worse-ground: #40260f;
    --same: #c3c9d1; --same-ground: #2a3038; --unknown: #e5c76b; --unknown-ground: #38300f;
    --c0: #4aa8e0; --c1: #f0803a; --c2: #2cc596; --c3: #dd9bbf;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; scroll-behavior: smooth; }
body {
  margin: 0; background: var(--ground); color: var(--ink); overflow-wrap: break-word;
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif;
}
main, body > header, body > footer { max-width: 72rem; margin: 0 auto; padding: 0 1.25rem; }
body > header { padding-top: 2.75rem; }
h1 { font-size: clamp(1.7rem, 1.2rem + 2.2vw, 2.6rem); line-height: 1.15; letter-spacing: -.02em; margin: .3rem 0 .8rem;
  text-wrap: balance; overflow-wrap: anywhere; }
h2 { font-size: 1.35rem; letter-spacing: -.01em; line-height: 1.25; margin: 3.2rem 0 .9rem; scroll-margin-top: 1rem; }
h3 { font-size: 1.05rem; line-height: 1.3; margin: 1.8rem 0 .5rem; }
p, ul, ol { max-width: 44rem; margin: 0 0 .8rem; }
ul { padding-left: 1.2rem; }
a { color: var(--link); text-underline-offset: .15em; }
code { font: .86em ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; overflow-wrap: anywhere; }
:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; border-radius: 3px; }
.eyebrow { color: var(--soft); font-size: .9rem; margin: 0; }
.lede { font-size: 1.08rem; }
.soft, figcaption, .notes { color: var(--soft); font-size: .88rem; }
.banner { border-left: 4px solid var(--worse); background: var(--worse-ground); border-radius: 0 6px 6px 0;
  padding: .6rem .9rem; font-size: .93rem; }
.banner.same { border-color: var(--better); background: var(--better-ground); }
nav ul { list-style: none; display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; padding: 0; margin: 1.2rem 0 0;
  font-size: .92rem; }
td.text { white-space: nowrap; }
.figure { font-variant-numeric: tabular-nums; }
.hidden { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }

.cards { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 25rem), 1fr)); }
.card, .wide, .plot, details { background: var(--card); border: 1px solid var(--line); border-radius: 10px; }
.card { padding: 1.1rem 1.2rem; min-width: 0; }
.card:only-child { max-width: 48rem; }
.card header { display: flex; flex-wrap: wrap; align-items: center; gap: .45rem .7rem; margin-bottom: .5rem; }
.card h3 { margin: 0; font-size: 1.15rem; overflow-wrap: anywhere; }
.card p { font-size: .95rem; margin: .55rem 0 0; }
.badge { border-radius: 999px; padding: .12rem .7rem; font-size: .85rem; font-weight: 600; }
.better { color: var(--better); background: var(--better-ground); }
.worse { color: var(--worse); background: var(--worse-ground); }
.same { color: var(--same); background: var(--same-ground); }
.unknown { color: var(--unknown); background: var(--unknown-ground); }
td .badge { font-size: .8rem; white-space: nowrap; margin-left: -.3rem; }
.swatch { width: .8em; height: .8em; flex: none; display: inline-block; vertical-align: -.05em; margin-right: .4em; }
.card .swatch { margin-right: 0; }
.forest { display: grid; gap: 0 .8rem;
  grid-template-columns: minmax(0, max-content) minmax(5rem, 13rem) max-content;
  align-items: center; font-size: .86rem; margin: .6rem 0 .2rem; }
.forest > * { overflow-wrap: anywhere; }
.forest svg { width: 100%; height: auto; display: block; }
.forest .soft { text-align: center; font-size: .76rem; }
.k0 { color: var(--c0); } .k1 { color: var(--c1); } .k2 { color: var(--c2); }
.k3 { color: var(--c3); } .k4 { color: var(--c4); } .k5 { color: var(--c5); }
svg .zero { stroke: var(--soft); } svg .hollow { fill: var(--card); }

.wide { overflow-x: auto; margin: .6rem 0; }
table { border-collapse: collapse; width: 100%; font-size: .88rem; font-variant-numeric: tabular-nums; }
th, td { padding: .5rem .75rem; text-align: right; vertical-align: top; border-bottom: 1px solid var(--line); }
tbody tr:last-child > * { border-bottom: 0; }
th[scope=row], th.text, td.text { text-align: left; }
th[scope=row] { font-weight: 600; white-space: nowrap; }
tr > :first-child { position: sticky; left: 0; background: var(--card); box-shadow: 1px 0 0 var(--line); z-index: 1; }
thead th { vertical-align: bottom; font-weight: 600; line-height: 1.25; }
thead button { all: unset; cursor: pointer; font: inherit; }
thead button:hover { color: var(--link); }
thead button:focus-visible { outline: 2px solid var(--link); outline-offset: 3px; border-radius: 3px; }
thead button::after { content: "\u00a0↕"; color: var(--soft); opacity: .6; }
th[aria-sort=ascending] button::after { content: "\u00a0↑"; opacity: 1; color: var(--link); }
th[aria-sort=descending] button::after { content: "\u00a0↓"; opacity: 1; color: var(--link); }
tr.control th, tr.control td { color: var(--soft); font-weight: 400; }
.detail { display: block; color: var(--soft); font-size: .82em; white-space: nowrap; }
.unit { font-weight: 400; color: var(--soft); white-space: nowrap; }

figure { margin: 1.4rem 0 2rem; }
.plot { background: #fff; padding: .8rem; overflow-x: auto; }
.plot img { display: block; width: 100%; height: auto; min-width: 40rem; margin: 0 auto; }
figcaption { max-width: 44rem; margin-top: .5rem; }
@media (prefers-color-scheme: dark) {
  .plot { background: #171717; }
  .plot img { filter: invert(.91) hue-rotate(180deg); }
}
.scene { display: grid; gap: 1rem; grid-template-columns: minmax(10rem, 15rem) minmax(0, 1fr); align-items: start; }
.where { position: relative; }
.where img { display: block; width: 100%; height: auto; border-radius: 4px; }
.where svg { position: absolute; inset: 0; width: 100%; height: 100%; }
.crops { display: grid; gap: .8rem .7rem; grid-template-columns: repeat(auto-fit, minmax(8.2rem, 1fr)); }
.crops figure, .where { margin: 0; }
.crops img { display: block; width: 100%; height: auto; image-rendering: pixelated; border-radius: 4px; }
.crops figcaption { margin-top: .3rem; line-height: 1.35; font-size: .82rem; }
.crops b { color: var(--ink); overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: .3rem 1.2rem; margin: .6rem 0 .2rem;
  font-size: .9rem; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
details { padding: .7rem 1rem; margin: .6rem 0; }
.card details { border: 0; padding: 0; font-size: .95rem; }
summary { cursor: pointer; font-weight: 600; }
body > footer { color: var(--soft); font-size: .85rem; margin-top: 3.5rem; padding-bottom: 3rem; }
body > footer p { border-top: 1px solid var(--line); padding-top: 1rem; max-width: none; }

@media (max-width: 40rem) {
  main, body > header, body > footer { padding-left: 1rem; padding-right: 1rem; }
  body > header { padding-top: 1.6rem; }
  .card { padding: .9rem; }
  th, td { padding: .45rem .6rem; }
  th[scope=row] { min-width: 6.5rem; max-width: 8.5rem; white-space: normal; overflow-wrap: break-word; }
  .forest { grid-template-columns: minmax(0, 1fr) max-content; } .forest .set { grid-column: 1 / -1; font-weight: 600; }
  .forest .none { display: none; } .crops figcaption { font-size: .75rem; }
  .scene { grid-template-columns: minmax(0, 1fr); }
  .where { max-width: 16rem; }
  .crops { grid-template-columns: repeat(auto-fit, minmax(6.6rem, 1fr)); }
  dl { grid-template-columns: minmax(0, 1fr); gap: 0; } dd { margin-bottom: .5rem; }
  nav ul { gap: .5rem 1rem; }
}
@media print {
  :root { color-scheme: light; --ground: #fff; --card: #fff; --ink: #000; --soft: #444; --line: #bbb; --link: #000;
    --better: #00543b; --worse: #7d3300; --unknown: #5c4400; --same: #333; }
  body { font-size: 10pt; }
  nav, thead button::after, .screen { display: none; }
  main, body > header, body > footer { max-width: none; padding: 0; }
  .wide, .plot { overflow: visible; } .plot img { filter: none; min-width: 0; } .plot { background: #fff; }
  figure, .card, tr, .scene { break-inside: avoid; } h2, h3 { break-after: avoid; }
  table { font-size: 8pt; } th, td { padding: .25rem .35rem; }
  .badge { border: 1px solid currentColor; background: none; }
  .scene { grid-template-columns: 10rem minmax(0, 1fr); }
  .crops { grid-template-columns: repeat(auto-fit, minmax(5.5rem, 1fr)); } .crops figcaption { font-size: .7rem; }
}
@media (prefers-reduced-motion: reduce) { html { scroll-behavior: auto; } }
"""

SCRIPT = """
"use strict";
// a header sorts the rows by its column; blanks come last in both directions
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  const said = document.getElementById(table.dataset.said);
  const key = (row, at) => row.cells[at].dataset.value ?? "";
  heads.forEach((head, at) => head.querySelector("button").addEventListener("click", () => {
    const now = head.getAttribute("aria-sort"), numbers = head.dataset.kind === "number";
    const next = now === "none" ? head.dataset.first : now === "ascending" ? "descending" : "ascending";
    const sign = next === "ascending" ? 1 : -1;
    const rows = [...body.rows].sort((one, two) => {
      const a = key(one, at), b = key(two, at);
      if (a === "" || b === "") return (a === "") - (b === "");
      if (a === b) return 0;
      return sign * (numbers ? (Number(a) < Number(b) ? -1 : 1) : a.localeCompare(b, "en", { numeric: true }));
    });
    body.append(...rows);
    for (const other of heads) other.setAttribute("aria-sort", other === head ? next : "none");
    said.textContent = "Sorted by " + head.querySelector("button").textContent + ", " + next + ".";
  }));
}
// what is folded on the screen is open on paper
addEventListener("beforeprint", () => {
  for (const each of document.querySelectorAll("details")) each.open = true;
});
"""

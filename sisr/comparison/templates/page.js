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

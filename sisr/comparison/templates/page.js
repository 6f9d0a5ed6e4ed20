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
// the fields above a table hide the rows that do not have what is asked for
for (const form of document.querySelectorAll("form.filter")) {
  const rows = [...document.getElementById(form.dataset.table).tBodies[0].rows];
  const has = (row, field) => {
    const cell = row.cells[field.dataset.column], text = cell.textContent.trim().toLowerCase();
    const wanted = field.value.trim().toLowerCase();
    if (field.type === "checkbox") return !field.checked || text !== "";
    if (field.type === "search") return text.includes(wanted);
    return wanted === "" || (field.dataset.match === "starts" ? text.startsWith(wanted) : text === wanted);
  };
  const filter = () => {
    const fields = [...form.querySelectorAll("[data-column]")];
    for (const row of rows) row.hidden = !fields.every(field => has(row, field));
    form.querySelector("output").textContent = rows.filter(row => !row.hidden).length + " of " + rows.length + " rows";
  };
  for (const kind of ["input", "change"]) form.addEventListener(kind, filter);
  form.addEventListener("submit", event => event.preventDefault());
  filter();
}
// what is folded on the screen is open on paper
addEventListener("beforeprint", () => {
  for (const each of document.querySelectorAll("details")) each.open = true;
});

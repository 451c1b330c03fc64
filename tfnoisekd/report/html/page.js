"use strict";
// Sorting: numbers by value, texts by alphabet; what is missing stays at the end either way.
function valueOf(row, column) {
  const cell = row.cells[column];
  const text = (cell.dataset.v ?? cell.textContent).trim();
  if (cell.classList.contains("missing") && !/\d/.test(text)) return null;
  if (text === "" || text === "–" || text.startsWith("missing")) return null;
  const number = Number.parseFloat(text.replaceAll(",", ""));
  return /^[-+]?[\d.]/.test(text) && !Number.isNaN(number) ? number : text;
}

function compare(a, b) {
  if (typeof a === "number" && typeof b === "number") return a - b;
  return String(a).localeCompare(String(b), "en", { numeric: true });
}

function sort(button) {
  const heading = button.closest("th");
  const table = heading.closest("table");
  const body = table.tBodies[0];
  const descending = heading.getAttribute("aria-sort") === "ascending";
  for (const other of table.querySelectorAll("thead th")) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
  const rows = [...body.rows].map((row) => [valueOf(row, heading.cellIndex), row]);
  rows.sort(([a], [b]) => {
    if (a === null || b === null) return (a === null) - (b === null);
    return descending ? compare(b, a) : compare(a, b);
  });
  body.append(...rows.map(([, row]) => row));
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("thead button");
  if (button) sort(button);
});

// A link to a run opens what it is folded into.
function reveal() {
  const target = location.hash.length > 1 && document.getElementById(location.hash.slice(1));
  if (!target) return;
  for (let each = target; each; each = each.parentElement) if (each.tagName === "DETAILS") each.open = true;
  target.scrollIntoView();
}
window.addEventListener("hashchange", reveal);
reveal();

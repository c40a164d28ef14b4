// Tables: j and k move between rows, Enter opens the row's first link, x selects; boxes of several rows are chosen with Shift; a button says how many are chosen.

function rowsOf(table) {
  return [...table.tBodies].flatMap((body) => [...body.rows]);
}

let lastBox;

document.addEventListener("click", (event) => {
  const box = event.target.closest?.('table.list td.check input[type="checkbox"]');
  if (!box) return;
  if (event.shiftKey && lastBox?.isConnected && lastBox.closest("table") === box.closest("table")) {
    const boxes = [...box.closest("table").querySelectorAll('td.check input[type="checkbox"]')];
    const [from, until] = [boxes.indexOf(lastBox), boxes.indexOf(box)].sort((a, b) => a - b);
    for (const each of boxes.slice(from, until + 1)) each.checked = box.checked;
  }
  lastBox = box;
  count(box.form);
});

document.addEventListener("change", (event) => {
  if (event.target.matches?.('th.check input[type="checkbox"]')) {
    for (const box of event.target.closest("table").querySelectorAll('td.check input[type="checkbox"]')) box.checked = event.target.checked;
    count(event.target.closest("form") ?? document.forms[event.target.getAttribute("form")]);
  }
  // A choice that is a whole question in itself needs no button.
  if (event.target.matches?.("[data-submit]")) event.target.form.requestSubmit();
});

/** A button with data-needs="2" works once so many rows are chosen. */
function count(form) {
  if (!form) return;
  const chosen = [...form.elements].filter((each) => each.type === "checkbox" && each.checked && each.closest("td.check")).length;
  for (const button of form.querySelectorAll("button[data-needs]")) {
    button.disabled = chosen < Number(button.dataset.needs);
    const number = button.querySelector("[data-count]");
    if (number) number.textContent = chosen ? ` ${chosen}` : "";
  }
}

for (const form of document.forms) count(form);
document.addEventListener("htmx:afterSettle", () => {
  for (const form of document.forms) count(form);
});

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest?.("input, select, textarea, dialog")) return;
  const table = event.target.closest?.("table.list") ?? document.querySelector("main table.list");
  if (!table) return;
  const rows = rowsOf(table);
  const at = rows.indexOf(event.target.closest?.("tr"));
  if (event.key === "j" || event.key === "k") {
    const row = rows[Math.min(rows.length - 1, Math.max(0, at + (event.key === "j" ? 1 : at < 0 ? 1 : -1)))];
    if (!row) return;
    row.tabIndex = -1;
    row.focus();
    row.scrollIntoView({ block: "nearest" });
    event.preventDefault();
  } else if (event.key === "Enter" && event.target.tagName === "TR") {
    event.target.querySelector("a[href]")?.click();
  } else if (event.key === "x" && event.target.tagName === "TR") {
    event.target.querySelector('td.check input[type="checkbox"]')?.click();
  }
});

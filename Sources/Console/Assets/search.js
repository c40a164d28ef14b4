// Cmd-K or Ctrl-K (or /): finds anything by name or id. The dialog is made when it is first asked for.

let dialog;
let input;
let list;
let hint;
let asked;
let timer;
let chosen = -1;

const started = "Resources, runs, models, releases, predictions and events, by name or id.";

function make() {
  dialog = document.createElement("dialog");
  dialog.id = "search";
  dialog.setAttribute("aria-label", "Search");
  input = Object.assign(document.createElement("input"), { type: "text", placeholder: "Search by name or id", autocomplete: "off", spellcheck: false, maxLength: 200 });
  for (const [name, value] of Object.entries({ role: "combobox", "aria-expanded": "false", "aria-controls": "search-results", "aria-label": "Search by name or id", "aria-autocomplete": "list" })) input.setAttribute(name, value);
  list = document.createElement("ul");
  list.id = "search-results";
  list.setAttribute("role", "listbox");
  list.setAttribute("aria-label", "Results");
  list.hidden = true;
  hint = document.createElement("p");
  hint.setAttribute("role", "status");
  dialog.append(input, list, hint);
  document.body.append(dialog);
  input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(ask, 120);
  });
  input.addEventListener("keydown", steer);
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
    const option = event.target.closest('[role="option"]');
    if (option) location.assign(option.dataset.href);
  });
}

function open() {
  if (!dialog) make();
  if (dialog.open) return;
  input.value = "";
  show([], started);
  dialog.showModal();
}

function show(results, text) {
  chosen = -1;
  list.replaceChildren(...results.map((result, index) => {
    const option = document.createElement("li");
    option.id = "search-result-" + index;
    option.setAttribute("role", "option");
    option.setAttribute("aria-selected", "false");
    option.dataset.href = result.href;
    for (const name of ["kind", "name", "note"]) {
      if (result[name]) option.append(Object.assign(document.createElement("span"), { className: name, textContent: result[name] }));
    }
    return option;
  }));
  list.hidden = results.length === 0;
  input.setAttribute("aria-expanded", String(results.length > 0));
  hint.textContent = text;
  hint.hidden = text === "";
  select(0);
}

async function ask() {
  const words = input.value.trim();
  asked?.abort();
  if (!words) return show([], started);
  asked = new AbortController();
  try {
    const answer = await fetch("/console/search?q=" + encodeURIComponent(words), { headers: { Accept: "application/json" }, signal: asked.signal });
    if (!answer.ok) throw new Error(`The server answered ${answer.status}.`);
    const { results } = await answer.json();
    show(results, results.length ? "" : `Nothing here is called or begins with “${words.slice(0, 60)}”.`);
  } catch (error) {
    if (error.name !== "AbortError") show([], error instanceof TypeError ? "The server did not answer." : error.message);
  }
}

function select(index) {
  const options = list.children;
  if (!options.length) return input.removeAttribute("aria-activedescendant");
  options[chosen]?.setAttribute("aria-selected", "false");
  chosen = (index + options.length) % options.length;
  options[chosen].setAttribute("aria-selected", "true");
  options[chosen].scrollIntoView({ block: "nearest" });
  input.setAttribute("aria-activedescendant", options[chosen].id);
}

function steer(event) {
  if (event.key === "ArrowDown") select(chosen + 1);
  else if (event.key === "ArrowUp") select(chosen - 1);
  else if (event.key === "Enter") list.children[chosen] && location.assign(list.children[chosen].dataset.href);
  else return;
  event.preventDefault();
}

document.addEventListener("keydown", (event) => {
  const isShortcut = (event.key === "k" || event.key === "K") && (event.metaKey || event.ctrlKey) && !event.altKey && !event.shiftKey;
  const isSlash = event.key === "/" && !event.metaKey && !event.ctrlKey && !event.altKey && !event.target.closest?.("input, select, textarea");
  if (!isShortcut && !isSlash) return;
  event.preventDefault();
  open();
});
document.addEventListener("click", (event) => {
  if (event.target.closest?.("[data-search]")) open();
});

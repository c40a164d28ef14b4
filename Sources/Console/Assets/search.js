// Ctrl-K, Cmd-K or / opens the search of the frame; what is typed is asked of /console/search, whose fragment holds links. Arrows choose one, Enter opens it.

const dialog = document.getElementById("search");
const input = dialog?.querySelector("input");
const results = document.getElementById("search-results");
let asked;
let timer;
let chosen = -1;

const links = () => [...results.querySelectorAll("a[href]")];

function open() {
  if (!dialog || dialog.open) return;
  dialog.showModal();
  input.select();
}

async function ask() {
  const words = input.value.trim();
  asked?.abort();
  if (!words) return show("");
  asked = new AbortController();
  try {
    const answer = await fetch("/console/search?q=" + encodeURIComponent(words), { headers: { "HX-Request": "true" }, signal: asked.signal });
    if (!answer.ok) throw new Error(`The server answered ${answer.status}.`);
    // The server's own fragment: its texts are escaped there, and the page's policy runs no script in it.
    show(await answer.text());
  } catch (error) {
    if (error.name === "AbortError") return;
    show("");
    results.textContent = error instanceof TypeError ? "The server did not answer." : error.message;
  }
}

function show(fragment) {
  results.innerHTML = fragment;
  chosen = -1;
  choose(0);
}

function choose(index) {
  const found = links();
  found[chosen]?.classList.remove("chosen");
  if (!found.length) return;
  chosen = (index + found.length) % found.length;
  found[chosen].classList.add("chosen");
  found[chosen].scrollIntoView({ block: "nearest" });
}

if (dialog && input && results) {
  input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(ask, 120);
  });
  input.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown") choose(chosen + 1);
    else if (event.key === "ArrowUp") choose(chosen - 1);
    else if (event.key === "Enter" && links()[chosen]) location.assign(links()[chosen].href);
    else return;
    event.preventDefault();
  });
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
  });
  document.getElementById("open-search")?.addEventListener("click", (event) => {
    event.preventDefault();
    open();
  });
  document.addEventListener("keydown", (event) => {
    const isShortcut = event.key.toLowerCase() === "k" && (event.metaKey || event.ctrlKey) && !event.altKey && !event.shiftKey;
    const isSlash = event.key === "/" && !event.metaKey && !event.ctrlKey && !event.altKey && !event.target.closest?.("input, select, textarea");
    if (!isShortcut && !isSlash) return;
    event.preventDefault();
    open();
  });
}

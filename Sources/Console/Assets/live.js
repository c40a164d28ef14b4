// What moves in a page that is open: relative times, whether the server still answers, streams of one page, the theme.

const units = [["year", 31_536_000], ["month", 2_592_000], ["day", 86_400], ["hour", 3600], ["minute", 60]];
const words = new Intl.RelativeTimeFormat("en", { numeric: "auto", style: "short" });

function relative(seconds) {
  for (const [unit, size] of units) if (Math.abs(seconds) >= size) return words.format(Math.trunc(seconds / size), unit);
  return Math.abs(seconds) < 5 ? "now" : words.format(Math.trunc(seconds), "second");
}

/** `<time datetime>` shows how long ago it was; the instant itself stands in its title. `data-absolute` keeps it as it is. */
function refresh(root = document) {
  for (const time of root.querySelectorAll("time[datetime]:not([data-absolute])")) {
    const at = Date.parse(time.dateTime);
    if (Number.isNaN(at)) continue;
    if (!time.title) time.title = time.textContent.trim() || time.dateTime;
    const text = relative((at - Date.now()) / 1000);
    if (time.textContent !== text) time.textContent = text;
  }
}

refresh();
setInterval(() => document.hidden || refresh(), 15_000);
document.addEventListener("visibilitychange", () => document.hidden || refresh());
document.addEventListener("htmx:load", (event) => refresh(event.target instanceof Element ? event.target.parentElement ?? document : document));

// The stream of the frame (htmx's extension) says whether the server is there.
const state = () => document.querySelector(".connection");
function connection(name, text) {
  const shown = state();
  if (!shown || shown.dataset.state === name) return;
  shown.dataset.state = name;
  shown.textContent = text;
}
document.addEventListener("htmx:sseOpen", () => connection("live", "Live"));
document.addEventListener("htmx:sseError", () => connection("lost", "Server not reached, reconnecting"));

/** `data-stream` names a stream of one page: each `changed` of it makes what follows it load again, until it says `ended`. */
function follow() {
  const element = document.querySelector("[data-stream]");
  if (!element) return;
  const stream = new EventSource(element.dataset.stream);
  const tell = () => document.hidden ? (missed = true) : document.body.dispatchEvent(new CustomEvent("keel:changed", { bubbles: true }));
  let missed = false;
  stream.addEventListener("changed", tell);
  stream.addEventListener("ended", () => {
    stream.close();
    tell();
  });
  document.addEventListener("visibilitychange", () => {
    if (document.hidden || !missed) return;
    missed = false;
    tell();
  });
  addEventListener("pagehide", () => stream.close());
}
follow();

// The theme: as the system has it until one is chosen. A cookie, so that the server writes it into the page and nothing flashes.
document.addEventListener("click", (event) => {
  const button = event.target.closest?.("[data-theme-switch]");
  if (!button) return;
  const isDark = document.documentElement.dataset.theme ? document.documentElement.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  const theme = isDark ? "light" : "dark";
  document.documentElement.dataset.theme = theme;
  document.cookie = `keel_theme=${theme}; path=/; max-age=31536000; samesite=strict${location.protocol === "https:" ? "; secure" : ""}`;
});

// A form asks before it does what cannot be taken back.
document.addEventListener("submit", (event) => {
  const question = event.submitter?.dataset.confirm ?? event.target.dataset.confirm;
  if (question && !confirm(question)) event.preventDefault();
});

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

// The stream of the frame (htmx's extension) says whether the server is there. A page that is left closes it as well: that is no loss.
const away = document.getElementById("connection");
let isLeaving = false;
addEventListener("pagehide", () => (isLeaving = true));
document.addEventListener("htmx:sseOpen", () => away && (away.hidden = true));
document.addEventListener("htmx:sseError", () => setTimeout(() => away && !isLeaving && (away.hidden = false), 400));

/**
 * A part of the page with an id that is loaded anew when what it follows has changed: `data-follow` names topics of the frame's stream, or `page` for the
 * page's own stream; `data-from` is the address that it is taken from, `data-more` what is taken from there besides. It loads at most once in `data-pause`
 * seconds (2). What is told while it loads or waits makes it load once more, and what is told to a page that nobody sees once somebody does: nothing that is told is lost.
 */
const loading = new Map();
const unseen = new Set();

function told(id) {
  if (document.hidden) unseen.add(id);
  else if (loading.has(id)) loading.set(id, true);
  else load(id);
}

async function load(id) {
  const part = document.getElementById(id);
  if (!part?.dataset.from) return;
  loading.set(id, false);
  const pause = Number(part.dataset.pause ?? 2) * 1000;
  try {
    await htmx.ajax("GET", part.dataset.from, { source: part, target: part, select: `#${CSS.escape(id)}`, selectOOB: part.dataset.more, swap: "outerHTML" });
  } catch {
    // A server that is away: its stream says so, and tells everything once it is back.
  }
  setTimeout(() => {
    const isToldAgain = loading.get(id);
    loading.delete(id);
    if (isToldAgain) told(id);
  }, pause);
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden) return;
  const ids = [...unseen];
  unseen.clear();
  for (const id of ids) told(id);
});

const followers = [...document.querySelectorAll("[data-follow]")].map((part) => [part.id, part.dataset.follow.split(" ")]);
const topics = new Set(followers.flatMap(([, names]) => names));
const tell = (topic) => followers.forEach(([id, names]) => names.includes(topic) && told(id));

// The frame's stream is htmx's extension's. One that is there again tells all topics: what happened meanwhile was not heard.
const sources = new WeakSet();
let wasOpen = false;
document.addEventListener("htmx:sseOpen", ({ detail: { source } }) => {
  if (!sources.has(source)) for (const topic of topics) source.addEventListener(topic, () => tell(topic));
  sources.add(source);
  if (wasOpen) for (const topic of topics) tell(topic);
  wasOpen = true;
});

/** `data-stream` names the page's own stream, which tells of changes until it says `ended`. */
function follow() {
  const element = document.querySelector("[data-stream]");
  if (!element) return;
  const stream = new EventSource(element.dataset.stream);
  const changed = () => {
    tell("page");
    document.dispatchEvent(new CustomEvent("keel:changed"));
  };
  stream.addEventListener("changed", changed);
  // One that is there again knows nothing of what happened while it was away.
  let wasOpen = false;
  stream.addEventListener("open", () => {
    if (wasOpen) changed();
    wasOpen = true;
  });
  stream.addEventListener("ended", () => {
    stream.close();
    changed();
  });
  addEventListener("pagehide", () => stream.close());
}
follow();

// The theme: as the system has it until one is chosen (theme.js sets it before anything is drawn).
const root = document.documentElement;
const button = document.getElementById("theme");
const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches);
function name() {
  if (!button) return;
  button.hidden = false;
  button.textContent = isDark() ? "Light theme" : "Dark theme";
}
button?.addEventListener("click", () => {
  root.dataset.theme = isDark() ? "light" : "dark";
  try {
    localStorage.setItem("keel-theme", root.dataset.theme);
  } catch {
    // A browser that keeps nothing: it holds for this page.
  }
  name();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", name);
name();

// What is chosen in a page without loading it anew (charts.js) is in its address by the time that the address is saved.
document.addEventListener("submit", (event) => {
  for (const field of event.target.querySelectorAll?.("input[data-address]") ?? []) field.value = location.search;
});

// A form asks before it does what cannot be taken back.
document.addEventListener("submit", (event) => {
  const question = event.submitter?.dataset.confirm ?? event.target.dataset.confirm;
  if (question && !confirm(question)) event.preventDefault();
});

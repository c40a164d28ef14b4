// "Save as file": the page as one HTML file that shows the same without a server, an account or a script. Charts become SVG images with their numbers beneath,
// styles and images are within the file, forms and links are left out.

import { drawAll, image, numbers } from "./charts.js";

const LEFT_OUT = "script, link, meta, base, body > header, nav, dialog, button, th.check, td.check, iframe, noscript, .skip, #connection, .chart-controls, details.menu, input, select, textarea, object, embed";
const IMAGE_BYTES_MAX = 8 << 20;

const escaped = (text) => text.replace(/[&<>"]/g, (each) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[each]);

async function styles() {
  const texts = [];
  for (const link of document.querySelectorAll('link[rel="stylesheet"]')) {
    const answer = await fetch(link.href);
    if (!answer.ok) throw new Error(`The server answered ${answer.status}.`);
    texts.push(await answer.text());
  }
  return texts.join("\n").replaceAll("</style", "<\\/style");
}

/** An image's bytes as an address of their own; null for what cannot be read or is too large. */
async function embedded(address) {
  const answer = await fetch(address).catch(() => null);
  const blob = answer?.ok ? await answer.blob() : null;
  if (!blob || blob.size > IMAGE_BYTES_MAX) return null;
  return new Promise((resolve) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => resolve(null);
    reader.readAsDataURL(blob);
  });
}

/** Charts are put in as text at the end: parsed into this page, their styles would be refused by its policy. */
async function charts(copy) {
  const originals = [...document.querySelectorAll("figure.chart[data-chart]")];
  const copies = [...copy.querySelectorAll("figure.chart[data-chart]")];
  const drawings = new Map();
  for (const [at, figure] of originals.entries()) {
    const mark = `keel-chart-${at}-${crypto.randomUUID?.() ?? Math.random().toString(36).slice(2)}`;
    const svg = await image(figure);
    const plot = copies[at].querySelector(".plot");
    if (!svg || !plot) continue;
    drawings.set(mark, svg);
    plot.replaceChildren(mark);
    const table = numbers(figure);
    if (!table) continue;
    copies[at].querySelector(":scope > details")?.remove();
    const details = document.createElement("details");
    details.append(Object.assign(document.createElement("summary"), { textContent: "Numbers" }), table);
    copies[at].append(details);
  }
  return drawings;
}

async function images(copy) {
  const originals = [...document.querySelectorAll("main img")];
  for (const [at, picture] of [...copy.querySelectorAll("main img")].entries()) {
    const address = originals[at].src.startsWith("data:") ? originals[at].src : await embedded(originals[at].src);
    if (address) picture.src = address;
    else picture.replaceWith(picture.alt);
  }
}

function bare(copy) {
  for (const frame of copy.querySelectorAll("main iframe")) {
    frame.replaceWith(Object.assign(document.createElement("p"), { className: "hint", textContent: "A page of another's is not in this file." }));
  }
  // A table whose rows can be chosen is within a form.
  for (const form of copy.querySelectorAll("form")) form.querySelector("table, figure") ? form.replaceWith(...form.childNodes) : form.remove();
  for (const each of copy.querySelectorAll(LEFT_OUT)) each.remove();
  for (const section of [...copy.querySelectorAll("main section")].reverse()) {
    const hasMore = [...section.querySelectorAll("*")].some((each) => !each.matches("h2, h3, h2 *, h3 *, div") || each.matches("figure, table, img, svg"));
    if (!hasMore) section.remove();
  }
  for (const link of copy.querySelectorAll("a")) for (const name of ["href", "xlink:href", "target", "download"]) link.removeAttribute(name);
  for (const each of copy.querySelectorAll("*")) {
    for (const { name } of [...each.attributes]) {
      if (/^(hx-|sse-|on|data-)/.test(name) || name === "style" || name === "srcset" || name === "formaction") each.removeAttribute(name);
    }
  }
}

/** Times in words of "ago" would be of no day: a file shows the instants. */
function times(copy) {
  for (const time of copy.querySelectorAll("time[datetime]")) if (time.title) time.textContent = time.title;
}

export async function file() {
  await drawAll();
  const copy = document.documentElement.cloneNode(true);
  const drawings = await charts(copy);
  await images(copy);
  times(copy);
  bare(copy);
  const at = new Date().toISOString().slice(0, 19).replace("T", " ");
  const who = document.querySelector("header .who")?.textContent.trim() ?? "";
  const workspace = document.getElementById("workspace")?.textContent.trim() ?? "";
  const note = `Saved on ${at} UTC from ${location.origin}${location.pathname}${location.search}, workspace ${workspace}, by ${who}. Nothing in it moves any more.`;
  const isDark = getComputedStyle(document.documentElement).colorScheme === "dark"
    || (document.documentElement.dataset.theme !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);
  const main = copy.querySelector("main").innerHTML;
  let text = `<!doctype html>
<html lang="en" data-theme="${isDark ? "dark" : "light"}">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escaped(document.title)}</title>
<style>
${await styles()}
</style>
</head>
<body>
<main id="main"><p class="hint" id="saved">${escaped(note)}</p>
${main}
</main>
</body>
</html>
`;
  for (const [mark, svg] of drawings) text = text.replace(mark, () => svg);
  return text;
}

const button = document.getElementById("save");
if (button) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    button.disabled = true;
    try {
      const address = URL.createObjectURL(new Blob([await file()], { type: "text/html" }));
      const name = document.title.replace(/ · Keel$/, "").replace(/[^\p{L}\p{N}._-]+/gu, "-").replace(/^[-.]+|-+$/g, "").slice(0, 80) || "page";
      Object.assign(document.createElement("a"), { href: address, download: `keel-${name}.html` }).click();
      setTimeout(() => URL.revokeObjectURL(address), 60_000);
    } catch (error) {
      alert(`The page was not saved. ${error instanceof TypeError ? "The server did not answer." : error.message}`);
    } finally {
      button.disabled = false;
    }
  });
}

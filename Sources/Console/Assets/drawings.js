// Graphs of directed edges and Gantt charts, as SVG: nodes and bars are links, reached by keyboard and read by screen readers, coloured by console.css.

const space = "http://www.w3.org/2000/svg";

function element(name, attributes, ...children) {
  const made = document.createElementNS(space, name);
  for (const [key, value] of Object.entries(attributes)) if (value !== undefined && value !== null) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

const cut = (text, length) => ([...text].length > length ? [...text].slice(0, length - 1).join("") + "…" : text);

/**
 * Puts each node into a layer: one more than the furthest of those before it. Edges that close a circle are left out of that.
 */
function layered(nodes, edges) {
  const next = new Map(nodes.map((node) => [node.id, []]));
  const waits = new Map(nodes.map((node) => [node.id, 0]));
  for (const [from, to] of edges) {
    if (!next.has(from) || !next.has(to) || from === to) continue;
    next.get(from).push(to);
    waits.set(to, waits.get(to) + 1);
  }
  const layer = new Map(nodes.map((node) => [node.id, 0]));
  const ready = nodes.filter((node) => waits.get(node.id) === 0).map((node) => node.id);
  const done = new Set();
  while (done.size < nodes.length) {
    const id = ready.shift() ?? nodes.find((node) => !done.has(node.id)).id;
    if (done.has(id)) continue;
    done.add(id);
    for (const to of next.get(id)) {
      if (done.has(to)) continue;
      layer.set(to, Math.max(layer.get(to), layer.get(id) + 1));
      waits.set(to, waits.get(to) - 1);
      if (waits.get(to) === 0) ready.push(to);
    }
  }
  return layer;
}

/** The layers from left to right, each ordered by the middle of its neighbours before it, so that fewer edges cross. */
function ordered(nodes, edges, layer) {
  const columns = [];
  for (const node of nodes) (columns[layer.get(node.id)] ??= []).push(node);
  const place = new Map();
  const settle = (column) => column.forEach((node, at) => place.set(node.id, at - (column.length - 1) / 2));
  columns.forEach(settle);
  for (let round = 0; round < 6; round++) {
    const isForward = round % 2 === 0;
    for (const column of isForward ? columns : [...columns].reverse()) {
      const middle = new Map(column.map((node) => {
        const beside = edges.filter((edge) => edge[isForward ? 1 : 0] === node.id).map((edge) => place.get(edge[isForward ? 0 : 1])).filter((at) => at !== undefined);
        return [node.id, beside.length ? beside.reduce((sum, at) => sum + at, 0) / beside.length : place.get(node.id)];
      }));
      column.sort((a, b) => middle.get(a.id) - middle.get(b.id));
      settle(column);
    }
  }
  return columns;
}

/**
 * @param data {"nodes": [{"id", "label", "kind", "tone", "href", "isHere"}], "edges": [[from, to], …]}
 */
export function graph(data, width) {
  const edges = data.edges ?? [];
  const columns = ordered(data.nodes, edges, layered(data.nodes, edges));
  const box = { width: 168, height: 44 };
  const gap = { x: Math.min(84, Math.max(36, (width - columns.length * box.width) / Math.max(1, columns.length))), y: 16 };
  const most = Math.max(...columns.map((column) => column.length));
  const size = { width: columns.length * (box.width + gap.x) - gap.x + 8, height: most * (box.height + gap.y) - gap.y + 8 };
  const drawing = element("svg", { class: "drawing", width: size.width, height: size.height, viewBox: `0 0 ${size.width} ${size.height}`, role: "group", "aria-label": "Graph" });
  const at = new Map();
  columns.forEach((column, index) => {
    const height = column.length * (box.height + gap.y) - gap.y;
    column.forEach((node, row) => at.set(node.id, { x: 4 + index * (box.width + gap.x), y: 4 + (size.height - 8 - height) / 2 + row * (box.height + gap.y) }));
  });
  for (const [from, to] of edges) {
    const a = at.get(from);
    const b = at.get(to);
    if (!a || !b) continue;
    const start = { x: a.x + box.width, y: a.y + box.height / 2 };
    const end = { x: b.x - 5, y: b.y + box.height / 2 };
    const bend = Math.max(24, (end.x - start.x) / 2);
    drawing.append(element("path", { class: "edge", d: `M${start.x} ${start.y} C${start.x + bend} ${start.y} ${end.x - bend} ${end.y} ${end.x} ${end.y}` }));
    drawing.append(element("path", { class: "arrow", d: `M${b.x} ${end.y} l-7 -4 v8 z` }));
  }
  for (const node of data.nodes) {
    const { x, y } = at.get(node.id);
    const inside = [
      element("title", {}, `${node.kind ? node.kind + " " : ""}${node.label}${node.note ? ", " + node.note : ""}`),
      element("rect", { x, y, width: box.width, height: box.height, rx: 7 }),
    ];
    const label = element("text", { x: x + 12, y: y + (node.kind || node.note ? 19 : 26), class: "label" });
    label.textContent = cut(node.label, 21);
    inside.push(label);
    if (node.kind || node.note) {
      const note = element("text", { x: x + 12, y: y + 34, class: "soft" });
      note.textContent = cut([node.kind, node.note].filter(Boolean).join(" · "), 26);
      inside.push(note);
    }
    const group = element("g", { class: ["node", node.tone, node.isHere ? "here" : ""].filter(Boolean).join(" ") }, ...inside);
    drawing.append(node.href ? element("a", { href: node.href, "aria-current": node.isHere ? "true" : null }, group) : group);
  }
  return drawing;
}

function duration(milliseconds) {
  if (milliseconds < 1000) return `${Math.round(milliseconds)} ms`;
  if (milliseconds < 60_000) return `${(milliseconds / 1000).toFixed(1)} s`;
  const minutes = milliseconds / 60_000;
  return minutes < 60 ? `${minutes.toFixed(1)} min` : `${(minutes / 60).toFixed(1)} h`;
}

/**
 * @param data {"bars": [{"name", "from", "until", "tone", "note", "href"}]}: milliseconds since 1970; a bar without an end lasts still.
 */
export function gantt(data, width) {
  const now = Date.now();
  const start = Math.min(...data.bars.map((bar) => bar.from));
  const end = Math.max(start + 1, ...data.bars.map((bar) => bar.until ?? now));
  const left = Math.min(220, Math.max(120, ...data.bars.map((bar) => Math.min(30, [...bar.name].length) * 7 + 16)));
  const room = Math.max(240, width - left - 84);
  const row = 28;
  const height = data.bars.length * row + 26;
  const drawing = element("svg", { class: "drawing", width: left + room + 80, height, role: "group", "aria-label": "Steps by time" });
  for (let part = 0; part <= 4; part++) {
    const x = left + (room * part) / 4;
    drawing.append(element("line", { class: "axis", x1: x, x2: x, y1: 18, y2: height }));
    const text = element("text", { class: "soft", x: part === 0 ? x : x - 4, y: 12, "text-anchor": part === 0 ? "start" : "end" });
    text.textContent = part === 0 ? "0" : duration(((end - start) * part) / 4);
    drawing.append(text);
  }
  data.bars.forEach((bar, index) => {
    const y = 22 + index * row;
    const x = left + ((bar.from - start) / (end - start)) * room;
    const wide = Math.max(3, (((bar.until ?? now) - bar.from) / (end - start)) * room);
    const name = element("text", { x: 0, y: y + 17, class: "label" });
    name.textContent = cut(bar.name, 30);
    const long = duration((bar.until ?? now) - bar.from);
    const beside = element("text", { class: "soft", x: x + wide + 6, y: y + 17 });
    beside.textContent = bar.note ? `${long} · ${bar.note}` : long;
    if (x + wide + 6 + [...beside.textContent].length * 6 > left + room + 80) {
      beside.setAttribute("x", Math.max(left, x - 6));
      beside.setAttribute("text-anchor", x - 6 > left + 60 ? "end" : "start");
    }
    const group = element("g", {}, element("title", {}, `${bar.name}: ${long}${bar.note ? ", " + bar.note : ""}`), name, element("rect", { class: `bar ${bar.tone ?? ""}`, x, y: y + 5, width: wide, height: 16, rx: 4 }), beside);
    drawing.append(bar.href ? element("a", { href: bar.href }, group) : group);
  });
  return drawing;
}

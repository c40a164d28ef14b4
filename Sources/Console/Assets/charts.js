// Draws every <figure class="chart" data-chart="KIND" data-source="URL">: loads its numbers when it comes into view, and ECharts when the first one does.
// Kinds: lines, bars, histogram, scatter, parallel (canvas, by ECharts); graph and gantt are drawn as SVG by drawings.js, whose nodes are real links.
//
// A source answers {"x": "step"|"time"|"value"|["a", "b"], "series": [{"name", "data": [[x, y], …], "band": [[x, low, high], …], "href"}],
// "marks": [{"at", "label", "href", "tone"}], "axes": […], "isFromZero", "hasGaps"}; a value of null is a gap. Times are milliseconds since 1970; NaN and the infinities come as texts.

const drawn = new Map();
let library;

function echarts() {
  library ??= import("./vendor/echarts/index.js").then((module) => module.echarts);
  return library;
}

function colours() {
  const style = getComputedStyle(document.documentElement);
  // A colour of the theme (light-dark) is what the browser makes of it.
  const probe = document.createElement("span");
  probe.hidden = true;
  document.body.append(probe);
  const of = (name) => {
    const value = style.getPropertyValue("--" + name).trim();
    if (!value.startsWith("light-dark(")) return value;
    probe.style.color = value;
    return getComputedStyle(probe).color;
  };
  const all = {
    text: of("text"), muted: of("muted"), line: of("line"), surface: of("raised"), strong: of("line-strong"), accent: of("accent"), font: of("sans"),
    ok: of("ok"), warn: of("warn"), bad: of("bad"), info: of("info"), series: [1, 2, 3, 4, 5, 6, 7, 8].map((number) => of("series-" + number)),
  };
  probe.remove();
  return all;
}

const finite = (value) => (typeof value === "number" && Number.isFinite(value) ? value : null);
const short = (text, length = 48) => (text.length > length ? text.slice(0, length - 1) + "…" : text);

export function formatted(value) {
  if (typeof value !== "number") return String(value ?? "");
  if (Number.isInteger(value) && Math.abs(value) < 1e15) return value.toLocaleString("en-US");
  const size = Math.abs(value);
  return size !== 0 && (size < 1e-4 || size >= 1e7) ? value.toExponential(3) : String(Number(value.toPrecision(5)));
}

const instant = (milliseconds) => new Date(milliseconds).toISOString().slice(0, 19).replace("T", " ");

/** Loads and draws every chart of the page, also those that are out of view. */
export async function drawAll() {
  for (const figure of document.querySelectorAll("figure.chart[data-chart]")) {
    if (!drawn.has(figure)) drawn.set(figure, new Drawing(figure));
  }
  await Promise.all([...drawn.values()].map((drawing) => drawing.ready));
}

/** The drawing of a figure as text of an SVG image; null when it has none, or has it in the page already. */
export async function image(figure) {
  const drawing = drawn.get(figure);
  if (!drawing?.chart) return null;
  const engine = await echarts();
  const copy = engine.init(null, null, { renderer: "svg", ssr: true, width: Math.max(320, drawing.plot.clientWidth), height: Math.max(160, drawing.plot.clientHeight) });
  try {
    copy.setOption(options[drawing.kind](drawing.data, colours(), settings()));
    return copy.renderToSVGString();
  } finally {
    copy.dispose();
  }
}

/** The numbers of a figure as a table; null when it shows none. */
export const numbers = (figure) => (drawn.get(figure)?.chart ? drawn.get(figure).table() : null);

/** The exponential moving average without its bias at the start, which would pull the first values to zero. */
function smoothed(points, weight) {
  let sum = 0;
  let total = 0;
  return points.map(([x, y]) => {
    if (y === null) return [x, null];
    sum = sum * weight + y * (1 - weight);
    total = total * weight + (1 - weight);
    return [x, sum / total];
  });
}

// MARK: Options of ECharts

/** What all charts share. Tooltips are drawn on the canvas: as HTML they carry inline styles, which the page's policy forbids. */
function base(theme) {
  return {
    animation: false, color: theme.series, backgroundColor: "transparent",
    textStyle: { fontFamily: theme.font, color: theme.text, fontSize: 12 },
    grid: { left: 8, right: 18, top: 32, bottom: 6, containLabel: true },
    legend: { type: "scroll", top: 0, left: 0, itemWidth: 14, itemHeight: 8, icon: "roundRect", textStyle: { color: theme.muted },
      pageTextStyle: { color: theme.muted }, pageIconColor: theme.muted, pageIconInactiveColor: theme.line, formatter: (name) => short(name, 36) },
    tooltip: {
      renderMode: "richText", confine: true, backgroundColor: theme.surface, borderColor: theme.strong, borderWidth: 1, padding: [8, 10],
      textStyle: { color: theme.text, fontSize: 12, fontFamily: theme.font },
    },
  };
}

function axis(theme, extra) {
  return {
    axisLine: { lineStyle: { color: theme.strong } }, axisTick: { show: false }, splitLine: { lineStyle: { color: theme.line } },
    axisLabel: { color: theme.muted, fontSize: 11, hideOverlap: true }, nameTextStyle: { color: theme.muted, fontSize: 11 }, ...extra,
  };
}

function rows(head, items) {
  const limit = 14;
  const lines = items.slice(0, limit).map(([name, value, marker]) => `${marker ?? ""}${short(name, 40)}  ${value}`);
  if (items.length > limit) lines.push(`and ${items.length - limit} more`);
  return [head, ...lines].join("\n");
}

function xAxis(data, theme) {
  if (data.x === "time") return axis(theme, { type: "time", splitLine: { show: false } });
  return axis(theme, { type: "value", scale: true, minInterval: data.x === "step" ? 1 : 0, splitLine: { show: false }, axisLabel: { color: theme.muted, fontSize: 11, hideOverlap: true, formatter: formatted } });
}

function marks(data, theme) {
  if (!data.marks?.length) return undefined;
  return {
    symbol: "none", silent: false, animation: false,
    data: data.marks.map((mark) => ({
      xAxis: mark.at, name: mark.label, href: mark.href,
      lineStyle: { color: theme[mark.tone] ?? theme.accent, type: "dashed", width: 1.2 },
      label: { formatter: short(mark.label, 22), color: theme[mark.tone] ?? theme.accent, fontSize: 11, position: "insideEndTop", rotate: 90 },
    })),
  };
}

const limits = (data, theme) => (data.limits ?? []).map((limit) => ({
  yAxis: limit.at, name: limit.label, lineStyle: { color: theme.bad, type: "solid", width: 1, opacity: 0.6 },
  label: { formatter: short(limit.label, 30), color: theme.muted, fontSize: 11, position: "insideStartTop" },
}));

function lines(data, theme, settings) {
  const option = base(theme);
  const isLog = settings.log;
  const usable = ([x, y]) => [x, isLog && !(y > 0) ? null : finite(y)];
  const series = [];
  data.series.forEach((item, index) => {
    const colour = theme.series[index % theme.series.length];
    const points = item.data.map(usable);
    const few = points.length <= 40;
    // A value between two gaps is a point, as no line leads to it.
    const isAlone = (at) => (points[at - 1]?.[1] ?? null) === null && (points[at + 1]?.[1] ?? null) === null;
    const symbols = data.hasGaps
      ? { showSymbol: true, showAllSymbol: true, symbolSize: (_value, { dataIndex }) => (isAlone(dataIndex) ? 5 : 0) }
      : { showSymbol: few, symbolSize: few ? 5 : 3 };
    const common = { name: item.name, type: "line", color: colour, ...symbols, symbol: "circle", connectNulls: false, emphasis: { disabled: true } };
    if (item.band) {
      series.push({ ...common, data: item.band.map(([x, low]) => [x, finite(low)]), stack: "band" + index, stackStrategy: "all", lineStyle: { opacity: 0 }, showSymbol: false, tooltip: { show: false }, silent: true });
      series.push({ ...common, data: item.band.map(([x, low, high]) => [x, low === null ? null : finite(high - low)]), stack: "band" + index, stackStrategy: "all", lineStyle: { opacity: 0 }, showSymbol: false, areaStyle: { color: colour, opacity: 0.16 }, silent: true });
    }
    if (settings.smooth > 0) {
      series.push({ ...common, data: points, lineStyle: { width: 1, opacity: 0.25 }, showSymbol: false, silent: true, tooltip: { show: false } });
      series.push({ ...common, data: smoothed(points, settings.smooth), lineStyle: { width: 1.8 }, showSymbol: false });
    } else {
      series.push({ ...common, data: points, lineStyle: { width: 1.6 } });
    }
  });
  const lineMarks = marks(data, theme);
  const limitMarks = limits(data, theme);
  if (series.length && (lineMarks || limitMarks.length)) {
    series[0].markLine = { symbol: "none", animation: false, data: [...(lineMarks?.data ?? []), ...limitMarks] };
    if (data.marks?.length) option.grid.top = 40;
  }
  return {
    ...option, series, xAxis: xAxis(data, theme),
    yAxis: axis(theme, { type: isLog ? "log" : "value", scale: !data.isFromZero, axisLine: { show: false }, axisLabel: { color: theme.muted, fontSize: 11, formatter: formatted } }),
    legend: { ...option.legend, show: data.series.length > 1, data: data.series.map((item) => item.name) },
    dataZoom: [{ type: "inside", filterMode: "none", zoomOnMouseWheel: "shift", moveOnMouseWheel: false }],
    tooltip: {
      ...option.tooltip, trigger: "axis", axisPointer: { lineStyle: { color: theme.strong } },
      formatter: (items) => {
        const seen = new Map();
        for (const item of items) if (item.value[1] !== null) seen.set(item.seriesName, item);
        const head = data.x === "time" ? instant(items[0].value[0]) + " UTC" : `${data.x} ${formatted(items[0].value[0])}`;
        return rows(head, [...seen.values()].sort((a, b) => b.value[1] - a.value[1]).map((item) => [item.seriesName, formatted(item.value[1])]));
      },
    },
  };
}

/** Bins that are given as points, `[where, how many]`, as categories with values. */
function categorised(data) {
  if (Array.isArray(data.x)) return data;
  const places = [...new Set(data.series.flatMap((item) => item.data.map(([x]) => x)))].sort((a, b) => a - b);
  const series = data.series.map((item) => {
    const values = new Map(item.data);
    return { ...item, data: places.map((place) => values.get(place) ?? 0) };
  });
  return { ...data, x: places.map(formatted), series };
}

/** Bars by category; for a histogram the bars of one bin touch, and several series are compared by their share of rows. */
function bars(data, theme, _settings, isHistogram) {
  const option = base(theme);
  return {
    ...option,
    series: data.series.map((item, index) => ({
      name: item.name, type: "bar", data: item.data.map(finite), barGap: isHistogram ? "0%" : "10%", barCategoryGap: isHistogram ? "8%" : "34%",
      barMaxWidth: 48, itemStyle: { color: theme.series[index % theme.series.length], opacity: isHistogram && index > 0 ? 0.82 : 1, borderRadius: [2, 2, 0, 0] }, emphasis: { disabled: true },
    })),
    xAxis: axis(theme, { type: "category", data: data.x, splitLine: { show: false }, axisLabel: { color: theme.muted, fontSize: 11, hideOverlap: true, formatter: (text) => short(text, 14) } }),
    yAxis: axis(theme, { type: "value", axisLine: { show: false }, axisLabel: { color: theme.muted, fontSize: 11, formatter: data.unit === "share" ? (value) => Math.round(value * 100) + " %" : formatted } }),
    legend: { ...option.legend, show: data.series.length > 1 }, grid: { ...option.grid, top: data.series.length > 1 ? 30 : 10 },
    tooltip: {
      ...option.tooltip, trigger: "axis", axisPointer: { type: "shadow", shadowStyle: { color: theme.line, opacity: 0.5 } },
      formatter: (items) => rows(String(data.x[items[0].dataIndex]), items.map((item) => [item.seriesName, data.unit === "share" ? (item.value * 100).toFixed(1) + " %" : formatted(item.value)])),
    },
  };
}

function scatter(data, theme) {
  const option = base(theme);
  const value = (name, extra) => axis(theme, { type: "value", scale: true, name, nameLocation: "middle", nameGap: 28, axisLabel: { color: theme.muted, fontSize: 11, formatter: formatted }, ...extra });
  return {
    ...option,
    grid: { ...option.grid, left: 26, bottom: 26, top: data.series.length > 1 ? 32 : 12 },
    series: data.series.map((item) => ({
      name: item.name, type: "scatter", symbolSize: 9, emphasis: { disabled: true },
      data: item.data.filter(([x, y]) => finite(x) !== null && finite(y) !== null).map(([x, y, name, href]) => ({ value: [x, y], name, href })),
    })),
    xAxis: value(data.labels?.[0] ?? ""), yAxis: value(data.labels?.[1] ?? "", { nameGap: 42 }), legend: { ...option.legend, show: data.series.length > 1 },
    tooltip: { ...option.tooltip, trigger: "item", formatter: (item) => rows(item.name || item.seriesName, [[data.labels?.[0] ?? "x", formatted(item.value[0])], [data.labels?.[1] ?? "y", formatted(item.value[1])]]) },
  };
}

function parallel(data, theme) {
  const option = base(theme);
  return {
    ...option, legend: { show: false },
    parallel: { left: 48, right: 76, top: 36, bottom: 16 },
    parallelAxis: data.axes.map((item, dim) => ({
      dim, name: short(item.name, 18), type: item.categories ? "category" : "value", data: item.categories, scale: true, nameTextStyle: { color: theme.text, fontSize: 12 },
      axisLine: { lineStyle: { color: theme.strong } }, axisTick: { show: false }, axisLabel: { color: theme.muted, fontSize: 11, formatter: (value) => short(formatted(value), 14) },
    })),
    series: [{
      type: "parallel", lineStyle: { width: 1.8, opacity: 0.75 }, emphasis: { lineStyle: { width: 3, opacity: 1 } },
      data: data.series.map((item, index) => ({
        value: item.data.map((value, at) => (data.axes[at].categories ? value : finite(value) ?? "-")), name: item.name, href: item.href,
        lineStyle: { color: theme.series[index % theme.series.length] },
      })),
    }],
    tooltip: { ...option.tooltip, trigger: "item", formatter: (item) => rows(item.name, data.axes.map((each, at) => [each.name, formatted(item.value[at])])) },
  };
}

const options = { lines, bars, scatter, parallel, histogram: (data, theme, settings) => bars(data, theme, settings, true) };

// MARK: One figure

/** What was chosen for all line charts of the page, kept in its address so that it can be shared. */
function settings() {
  const chosen = new URLSearchParams(location.search);
  const smooth = Number(chosen.get("smooth"));
  return { smooth: smooth > 0 && smooth < 1 ? smooth : 0, log: chosen.get("log") === "1", x: chosen.get("x") };
}

function choose(name, value) {
  const address = new URL(location);
  if (value) address.searchParams.set(name, value);
  else address.searchParams.delete(name);
  history.replaceState(history.state, "", address);
  for (const drawing of drawn.values()) drawing.chosen(name);
}

/** The controls of all line charts below `host`: smoothing, a logarithmic axis, what is along the x axis. */
function addControls(host) {
  const now = settings();
  const smooth = Object.assign(document.createElement("input"), { type: "range", min: "0", max: "0.95", step: "0.05", value: String(now.smooth), name: "smooth" });
  smooth.addEventListener("input", () => choose("smooth", Number(smooth.value) > 0 ? smooth.value : null));
  const log = Object.assign(document.createElement("input"), { type: "checkbox", checked: now.log, name: "log" });
  log.addEventListener("change", () => choose("log", log.checked ? "1" : null));
  const labelled = (text, control, isAfter) => {
    const label = document.createElement("label");
    label.append(...(isAfter ? [control, text] : [text, control]));
    return label;
  };
  host.append(labelled("Smoothing ", smooth), labelled(" Logarithmic", log, true));
  if (host.dataset.x) {
    const choice = document.createElement("select");
    for (const [value, text] of [["step", "Step"], ["time", "Wall clock"], ["relative", "Time since start"]]) choice.append(new Option(text, value, false, (now.x ?? "step") === value));
    choice.addEventListener("change", () => choose("x", choice.value === "step" ? null : choice.value));
    host.append(labelled("Along ", choice));
  }
  host.dataset.ready = "yes";
}

class Drawing {
  constructor(figure) {
    this.figure = figure;
    this.kind = figure.dataset.chart;
    this.plot = document.createElement("div");
    this.plot.className = "plot";
    const details = figure.querySelector("details");
    if (details) details.before(this.plot);
    else figure.append(this.plot);
    this.abort = new AbortController();
    this.ready = this.load();
  }

  source() {
    const address = new URL(this.figure.dataset.source, location.href);
    // What the page's address has already, such as the runs that are compared, is not repeated in each figure.
    const { carry } = this.figure.dataset;
    if (carry) for (const value of new URLSearchParams(location.search).getAll(carry)) address.searchParams.append(carry, value);
    const x = settings().x;
    if (this.figure.dataset.x !== undefined && x) address.searchParams.set("x", x);
    return address;
  }

  /** One question at a time: what changes while it is on its way is asked for once more after it. */
  async load() {
    if (this.isLoading) {
      this.isStale = true;
      return;
    }
    this.isLoading = true;
    this.isStale = false;
    try {
      const answer = await fetch(this.source(), { signal: this.abort.signal, headers: { Accept: "application/json" } });
      if (!answer.ok) throw new Error(answer.status === 403 ? "Your role may not read this." : `The server answered ${answer.status}.`);
      const data = await answer.json();
      this.data = this.kind === "bars" || this.kind === "histogram" ? categorised(data) : data;
      await this.draw();
    } catch (error) {
      if (error.name === "AbortError") return;
      this.say(error instanceof TypeError ? "The server did not answer." : error.message, "failed");
    } finally {
      this.isLoading = false;
    }
    if (this.isStale) await this.load();
  }

  say(text, state) {
    this.clear();
    this.plot.classList.add(state);
    this.plot.textContent = text;
  }

  clear() {
    this.chart?.dispose();
    this.chart = undefined;
    this.observer?.disconnect();
    this.plot.replaceChildren();
    this.plot.classList.remove("failed", "nothing");
  }

  async draw() {
    const hasNothing = this.kind === "graph" ? !this.data.nodes?.length : this.kind === "gantt" ? !this.data.bars?.length : !this.data.series?.some((item) => item.data.length);
    if (hasNothing) return this.say(this.figure.dataset.empty ?? "No values yet.", "nothing");
    if (this.kind === "graph" || this.kind === "gantt") {
      const drawings = await import("./drawings.js");
      if (!this.figure.isConnected) return;
      this.clear();
      this.plot.classList.add("svg");
      this.plot.append(drawings[this.kind](this.data, this.plot.clientWidth));
      return;
    }
    const make = options[this.kind];
    if (!make) return this.say(`There is no chart '${this.kind}'.`, "failed");
    const engine = await echarts();
    if (!this.figure.isConnected) return;
    if (!this.chart) {
      this.clear();
      this.chart = engine.init(this.plot, null, { renderer: "canvas" });
      this.chart.on("click", (event) => {
        const href = event.data?.href;
        if (href) location.assign(href);
      });
      this.observer = new ResizeObserver(() => this.chart?.resize());
      this.observer.observe(this.plot);
    }
    this.chart.setOption(make(this.data, colours(), settings()), { notMerge: true });
    this.describe();
  }

  /** Says how many values cannot be drawn, and gives the numbers as a table once it is opened. */
  describe() {
    const isLines = this.kind === "lines";
    const odd = isLines ? this.data.series.reduce((count, item) => count + item.data.filter(([, y]) => y !== null && finite(y) === null).length, 0) : 0;
    let note = this.figure.querySelector(":scope > .odd");
    if (odd && !note) {
      note = Object.assign(document.createElement("p"), { className: "odd hint" });
      this.plot.after(note);
    }
    if (note) note.textContent = odd ? `${odd} ${odd === 1 ? "value is" : "values are"} not finite and not drawn.` : "";
    if (this.figure.querySelector(":scope > details")) return;
    const details = document.createElement("details");
    const summary = Object.assign(document.createElement("summary"), { textContent: "Numbers" });
    details.append(summary);
    details.addEventListener("toggle", () => {
      details.querySelector("div")?.remove();
      if (details.open) details.append(this.table());
    });
    this.figure.append(details);
  }

  table() {
    const { data } = this;
    const head = [];
    const body = [];
    if (this.kind === "lines" || this.kind === "scatter") {
      head.push("Series", this.kind === "scatter" ? data.labels?.[0] ?? "x" : data.x, this.kind === "scatter" ? data.labels?.[1] ?? "y" : "Value");
      for (const item of data.series) for (const [x, y, name] of item.data) if (y !== null) body.push([name ?? item.name, data.x === "time" ? instant(x) : formatted(x), formatted(y)]);
    } else if (this.kind === "parallel") {
      head.push("Name", ...data.axes.map((each) => each.name));
      for (const item of data.series) body.push([item.name, ...item.data.map(formatted)]);
    } else {
      head.push("Bin", ...data.series.map((item) => item.name));
      data.x.forEach((name, at) => body.push([name, ...data.series.map((item) => (data.unit === "share" ? (item.data[at] * 100).toFixed(1) + " %" : formatted(item.data[at])))]));
    }
    const frame = document.createElement("div");
    frame.className = "table-frame";
    frame.tabIndex = 0;
    frame.setAttribute("role", "region");
    frame.setAttribute("aria-label", "Numbers of " + (this.figure.getAttribute("aria-label") ?? "the chart"));
    const table = document.createElement("table");
    table.className = "list";
    const row = table.createTHead().insertRow();
    head.forEach((text, at) => row.append(Object.assign(document.createElement("th"), { textContent: text, scope: "col", className: at ? "num" : "" })));
    const rowsOf = table.createTBody();
    for (const cells of body.slice(0, 500)) {
      const line = rowsOf.insertRow();
      cells.forEach((text, at) => Object.assign(line.insertCell(), { textContent: text, className: at ? "num" : "" }));
    }
    frame.append(table);
    if (body.length > 500) frame.append(Object.assign(document.createElement("p"), { className: "hint", textContent: `The first 500 of ${body.length} rows.` }));
    return frame;
  }

  chosen(name) {
    if (name === "x" && this.figure.dataset.x !== undefined) this.load();
    else if (this.kind === "lines" && this.data) this.draw();
  }

  dispose() {
    this.abort.abort();
    this.clear();
  }
}

// MARK: The page

const inView = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (!entry.isIntersecting) continue;
    inView.unobserve(entry.target);
    if (!drawn.has(entry.target)) drawn.set(entry.target, new Drawing(entry.target));
  }
}, { rootMargin: "160px" });

function find(root) {
  for (const figure of root.querySelectorAll("figure.chart[data-chart]")) if (!drawn.has(figure)) inView.observe(figure);
  for (const host of root.querySelectorAll(".chart-controls:not([data-ready])")) addControls(host);
}

function forget() {
  for (const [figure, drawing] of drawn) {
    if (figure.isConnected) continue;
    drawing.dispose();
    drawn.delete(figure);
  }
}

function repaint() {
  for (const drawing of drawn.values()) if (drawing.data) drawing.draw();
}

let isWaiting = false;
new MutationObserver(() => {
  if (isWaiting) return;
  isWaiting = true;
  queueMicrotask(() => {
    isWaiting = false;
    forget();
    find(document);
  });
}).observe(document.body, { childList: true, subtree: true });
new MutationObserver(repaint).observe(document.documentElement, { attributeFilter: ["data-theme"] });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
// Charts of what has changed on the server load again, once they are looked at.
const stale = new Set();
function refresh() {
  if (document.hidden) return;
  for (const drawing of stale) drawing.load();
  stale.clear();
}
function outdate(isMeant) {
  for (const [figure, drawing] of drawn) if (isMeant(figure)) stale.add(drawing);
  refresh();
}
document.addEventListener("visibilitychange", refresh);
// The page's own stream told of a change (live.js).
document.addEventListener("keel:changed", () => outdate((figure) => figure.dataset.live !== undefined));
// A minute of endpoints has ended (htmx's extension tells an element that asks for it).
document.addEventListener("sse:minute", (event) => {
  const section = event.target.closest?.("[data-minute]");
  if (!section || !JSON.parse(event.detail.data).endpoints.includes(section.dataset.minute)) return;
  outdate((figure) => section.contains(figure));
});
// What ended while the server was away was not heard.
let wasOpen = false;
document.addEventListener("htmx:sseOpen", () => {
  if (wasOpen) outdate((figure) => figure.closest("[data-minute]"));
  wasOpen = true;
});
find(document);

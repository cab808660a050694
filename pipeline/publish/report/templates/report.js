// What the page does: selectors, heat map, charts, table. Texts go in as text nodes only.
const read = (id) => JSON.parse(document.getElementById(id).textContent);
const data = read("data"), words = read("words"), specs = read("charts");
const { axes, plans, fronts, map } = data;
const at = (id) => document.getElementById(id);
const say = (key, values = {}) => (words[key] ?? key).replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");
const locale = document.documentElement.lang;
const numbers = new Intl.NumberFormat(locale, { maximumSignificantDigits: 4 });
const whole = new Intl.NumberFormat(locale, { maximumFractionDigits: 0 });
const number = (value, digits = 3) =>
  value === null || value === undefined ? "–"
    : Math.abs(value) >= 1000 ? whole.format(value)
      : new Intl.NumberFormat(locale, { maximumSignificantDigits: digits }).format(value);
const usd = (value) => (value === null ? "–" : "$" + (value < 10 ? value.toPrecision(value < 0.1 ? 2 : 3) : number(value)));
const seconds = (value) => (value < 1 ? `${number(value * 1000)} ms` : `${number(value)} s`);
const value = (name) => words[`value.${name}`] ?? name;

function element(tag, text, attributes = {}) {
  const made = document.createElement(tag);
  if (text !== undefined && text !== null) made.textContent = text;
  for (const [name, each] of Object.entries(attributes)) made.setAttribute(name, each);
  return made;
}

// Columns become rows once; names stay numbers until they are shown.
const rowsOf = (table) => (table.model ?? []).map((_, i) => Object.fromEntries(Object.entries(table).map(([name, column]) => [name, column[i]])));
const PLANS = rowsOf(plans), FRONTS = rowsOf(fronts);
const name = (axis, row) => axes[axis][row[axis]];
const planWords = (row) =>
  [`${name("accelerator", row)}${row.device_count > 1 ? ` ×${row.device_count}` : ""}`, `${name("weights", row)}, KV ${name("kv", row)}`, name("engine", row),
    ...["pp", "ep", "dp"].filter((each) => row[each] > 1).map((each) => `${each} ${row[each]}`)].join(" · ");
const better = (a, b) =>
  (b.meets - a.meets) || ((a.usd ?? Infinity) - (b.usd ?? Infinity) || 0) || (b.tokens_per_s / b.device_count - a.tokens_per_s / a.device_count);

const state = { model: 0, workload: 0, weights: -1, devices: 0, hidden: new Set(), every: false, filter: "", sort: "usd", down: false };
const ANY = -1;

function chosen() {
  const rows = PLANS.filter((row) => row.model === state.model && row.workload === state.workload && !state.hidden.has(row.accelerator)
    && (state.weights === ANY || row.weights === state.weights));
  const best = new Map();
  for (const row of rows) if (!best.has(row.accelerator) || better(row, best.get(row.accelerator)) < 0) best.set(row.accelerator, row);
  return [...best.values()].sort(better);
}

// ----- charts
const NARROW = 430, LABEL = 14; // pixels; characters of a name beside a narrow chart
function label(row) {
  const whole = name("accelerator", row), cut = (each) => (at("cost").parentElement.clientWidth < NARROW && each.length > LABEL ? `${each.slice(0, LABEL - 1)}…` : each);
  const shown = axes.accelerator.filter((each) => cut(each) === cut(whole)).length > 1 ? whole : cut(whole);
  return `${shown}${row.device_count > 1 ? ` ×${row.device_count}` : ""}`;
}
const common = (row) => ({ accelerator: name("accelerator", row), label: label(row), plan: planWords(row), batch: row.batch });

function curveRows(best) {
  return best.flatMap((row) => (row.curve_tpot_ms ?? []).map((_, i) => ({
    ...common(row), batch: data.batches[i], tpot_ms: row.curve_tpot_ms[i], tokens: row.curve_tokens[i], in_time: i < row.curve_in_time,
    tpot: `${number(row.curve_tpot_ms[i])} ms`, rate: number(row.curve_tokens[i]), said: say(i < row.curve_in_time ? "tips.within" : "tips.beyond"),
  })));
}

const costRows = (best) => best.filter((row) => row.meets && row.usd !== null).map((row) => ({
  ...common(row), usd: row.usd, usd_lo: row.usd_lo, usd_hi: row.usd_hi, price: usd(row.usd), interval: `${usd(row.usd_lo)} – ${usd(row.usd_hi)}`,
  ttft: `${number(row.ttft_ms)} ms`, tpot: `${number(row.tpot_ms)} ms`, confidence: value(name("confidence", row)),
}));

function frontRows() {
  const rows = FRONTS.filter((row) => row.model === state.model && row.workload === state.workload && (state.weights === ANY || row.weights === state.weights))
    .sort((a, b) => a.usd - b.usd || a.e2e_s - b.e2e_s);
  let fastest = Infinity;
  const kept = rows.filter((row) => row.e2e_s < fastest && ((fastest = row.e2e_s), true));
  return kept.filter((row) => !state.hidden.has(row.accelerator)).map((row) => ({
    ...common(row), usd: row.usd, e2e_s: row.e2e_s, price: usd(row.usd), time: seconds(row.e2e_s), tpot: `${number(row.tpot_ms)} ms`,
  }));
}

const PARTS = ["weights", "kv", "activations", "overhead", "free"];
function memoryRows(best) {
  return best.flatMap((row) => {
    let from = 0;
    const device = data.memory_gb[row.accelerator];
    return PARTS.map((part, i) => {
      const gb = Math.max(row[`${part}_gb`], 0), start = from;
      from += gb;
      return { ...common(row), part: say(`parts.${part}`), from_gb: start, to_gb: from, middle_gb: start + gb / 2, memory: `${number(gb)} GB`,
        text: gb / widest(best) * (at("memory").parentElement.clientWidth - 190) > 28 ? number(gb) : "", ink: `var(--on-part-${i})`, share: gb / device };
    });
  });
}
const widest = (rows) => Math.max(...rows.map((row) => data.memory_gb[row.accelerator]), 1);

const views = {};
async function draw() {
  const shown = refresh();
  const options = { mode: "vega", renderer: "svg", actions: false, ast: true, defaultStyle: false, tooltip: { disableDefaultStyle: true }, logLevel: 1 };
  for (const [id, spec] of Object.entries(specs)) {
    for (const each of spec.data) if (each.name in shown) each.values = shown[each.name];
    views[id] = (await vegaEmbed(at(id), spec, options)).view;
  }
  document.documentElement.dataset.ready = "yes";
}

// Everything but the charts, which draw their rows of what is returned.
function refresh() {
  const best = chosen(), slo = data.workloads.tpot_slo_s[state.workload];
  const shown = { curves: curveRows(best), cost: costRows(best), front: frontRows(), memory: memoryRows(best) };
  notes(best, shown);
  heatMap();
  table();
  return { ...shown, objective: [{ tpot_ms: slo * 1000, label: say("charts.objective", { tpot: seconds(slo) }) }] };
}

async function update() {
  const shown = refresh();
  views.curves.data("objective", shown.objective);
  for (const [id, view] of Object.entries(views)) await view.data(id, shown[id]).resize().runAsync();
  document.documentElement.dataset.drawn = String(Number(document.documentElement.dataset.drawn ?? 0) + 1);
}

function notes(best, shown) {
  const w = data.workloads, i = state.workload;
  at("workload-is").textContent = say("controls.workload_is", { prompt: number(w.prompt_tokens[i], 4), output: number(w.output_tokens[i], 4), ttft: seconds(w.ttft_slo_s[i]), tpot: seconds(w.tpot_slo_s[i]) });
  at("shown").textContent = say("controls.note", { shown: axes.model.length, models: words.models });
  for (const id of Object.keys(specs)) {
    at(`${id}-foot`).textContent = shown[id].length ? "" : say("charts.empty");
    at(id).hidden = !shown[id].length;
  }
  const names = (list) => list.join(locale.startsWith("zh") ? "、" : ", ");
  const missed = best.filter((row) => !row.meets).map((row) => name("accelerator", row));
  const unpriced = best.filter((row) => row.meets && row.usd === null).map((row) => name("accelerator", row));
  const fits = new Set(best.map((row) => row.accelerator));
  const unfit = axes.accelerator.filter((_, a) => !fits.has(a) && !state.hidden.has(a));
  const said = [unpriced.length && say("charts.unpriced", { accelerators: names(unpriced) }), missed.length && say("charts.missed", { accelerators: names(missed) }), unfit.length && say("charts.unfit", { accelerators: names(unfit) })];
  at("cost-foot").textContent = [at("cost-foot").textContent, ...said].filter(Boolean).join(" ");
}

// ----- heat map
const LEVELS = [4, 16, 64, 256, 1024];
function cellOf(model, accelerator) {
  const A = axes.accelerator.length, D = map.devices.length, W = axes.weights.length;
  const kinds = state.weights === ANY ? axes.weights.map((_, i) => i) : [state.weights];
  const wanted = state.devices === 0 ? map.devices.map((_, i) => i) : [state.devices - 1];
  let seen = -1;
  for (const d of wanted) {
    const batch = Math.max(...kinds.map((k) => map.batch_max[model][((state.workload * W + k) * A + accelerator) * D + d]));
    if (batch > 0) return { batch, devices: map.devices[d] };
    seen = Math.max(seen, batch);
  }
  return { batch: seen, devices: null };
}

function heatMap() {
  const head = element("tr");
  head.append(element("th", say("map.models"), { scope: "col" }), ...axes.accelerator.map((each) => element("th", each, { scope: "col" })));
  at("map").tHead.replaceChildren(head);
  const rows = map.model.map((model, m) => {
    const row = element("tr"), first = element("th", undefined, { scope: "row" }), place = axes.model.indexOf(model);
    if (place >= 0) {
      const button = element("button", model, { type: "button" });
      button.addEventListener("click", () => { at("model").value = place; state.model = place; update(); });
      first.append(button);
    } else first.append(model);
    first.append(" ", element("small", `${number(map.parameters[m] / 1e9)} B`));
    if (place === state.model) row.className = "chosen";
    row.append(first, ...axes.accelerator.map((accelerator, a) => cell(model, accelerator, cellOf(m, a))));
    return row;
  });
  at("map").tBodies[0].replaceChildren(...rows);
  const row = at("map").querySelector(".chosen"), box = at("map").parentElement;
  if (row && (row.offsetTop + row.offsetHeight > box.scrollTop + box.clientHeight || row.offsetTop < box.scrollTop + 60)) box.scrollTop = row.offsetTop - box.clientHeight / 2;
}

function cell(model, accelerator, { batch, devices }) {
  if (batch < 0) return element("td", say("map.absent"), { class: "absent", title: say("map.absent_long"), "aria-label": say("map.absent_long") });
  if (batch === 0) return element("td", say("map.no_fit"), { class: "none", title: `${model}, ${accelerator}: ${say("map.no_fit_long")}` });
  const level = LEVELS.filter((each) => batch >= each).length;
  const made = element("td", whole.format(batch), { class: `h${level}`, title: say("map.cell", { model, accelerator, batch: whole.format(batch), devices }) });
  if (state.devices === 0 && devices > 1) made.append(element("small", `×${devices}`));
  return made;
}

// ----- table
const COLUMNS = [
  ["accelerator", (row) => name("accelerator", row)], ["model", (row) => name("model", row)], ["devices", (row) => row.device_count, 1], ["weights", (row) => name("weights", row)],
  ["kv", (row) => name("kv", row)], ["engine", (row) => name("engine", row)], ["meets", (row) => say(row.meets ? "table.met" : "table.missed")],
  ["usd", (row) => row.usd, 1], ["interval", (row) => (row.usd === null ? "–" : `${usd(row.usd_lo)} – ${usd(row.usd_hi)}`)], ["batch", (row) => row.batch, 1],
  ["batch_max", (row) => row.batch_max, 1], ["ttft_ms", (row) => row.ttft_ms, 1], ["tpot_ms", (row) => row.tpot_ms, 1], ["tokens_per_s", (row) => row.tokens_per_s, 1],
  ["limited_by", (row) => value(name("limited_by", row))], ["confidence", (row) => value(name("confidence", row))],
];
const KEYS = Object.fromEntries(COLUMNS.map(([id, get]) => [id, get]));
KEYS.interval = (row) => row.usd_lo;
const shownColumns = () => COLUMNS.filter(([id]) => state.every || id !== "model");
const printed = ([id, get, numeric], row) => (id === "usd" ? usd(row.usd) : numeric ? number(get(row)) : get(row));

function tableHead() {
  const row = element("tr");
  for (const [id, , numeric] of shownColumns()) {
    const head = element("th", undefined, { scope: "col", "data-id": id, ...(numeric ? { class: "n" } : {}) });
    const button = element("button", say(`table.${id}`), { type: "button" });
    button.addEventListener("click", () => { state.down = state.sort === id ? !state.down : false; state.sort = id; table(); });
    head.append(button);
    row.append(head);
  }
  at("table").tHead.replaceChildren(row);
}

function compare(a, b) {
  const get = KEYS[state.sort], x = get(a), y = get(b);
  if (x === null || y === null) return (x === null) - (y === null);
  const order = typeof x === "number" ? x - y : String(x).localeCompare(String(y), locale);
  return state.down ? -order : order;
}

function table() {
  const rows = PLANS.filter((row) => (state.every || row.model === state.model) && row.workload === state.workload && !state.hidden.has(row.accelerator)
    && (state.weights === ANY || row.weights === state.weights));
  const wanted = state.filter.toLowerCase().split(/[\s,，、]+/).filter(Boolean);
  const made = [], columns = shownColumns();
  for (const row of [...rows].sort(compare)) {
    const cells = columns.map((column) => String(printed(column, row)));
    const text = cells.join(" ").toLowerCase();
    if (!wanted.every((word) => text.includes(word))) continue;
    const line = element("tr");
    line.append(...cells.map((each, i) => element(i ? "td" : "th", each, { ...(i ? {} : { scope: "row" }), ...(columns[i][2] ? { class: "n" } : columns[i][0] === "meets" && !row.meets ? { class: "bad" } : {}) })));
    made.push(line);
  }
  for (const head of at("table").tHead.rows[0].cells) {
    if (head.dataset.id === state.sort) head.setAttribute("aria-sort", state.down ? "descending" : "ascending");
    else head.removeAttribute("aria-sort");
  }
  at("table").tBodies[0].replaceChildren(...made);
  at("count").textContent = say("table.count", { shown: made.length, all: rows.length });
}

// ----- controls
function fill(id, names, chosenValue, first = 0) {
  at(id).replaceChildren(...names.map((each, i) => element("option", each, { value: i + first })));
  at(id).value = chosenValue;
  at(id).addEventListener("change", () => { state[id] = Number(at(id).value); update(); });
}
const MARKS = ["●", "■", "▲", "◆", "▼", "✚"];
function chips() {
  at("chips").append(...axes.accelerator.map((each, a) => {
    const chip = element("button", undefined, { type: "button", "aria-pressed": "true" });
    chip.append(element("span", MARKS[a % MARKS.length], { class: `mark k${a % 10}`, "aria-hidden": "true" }), each);
    chip.addEventListener("click", () => {
      state.hidden.has(a) ? state.hidden.delete(a) : state.hidden.add(a);
      chip.setAttribute("aria-pressed", String(!state.hidden.has(a)));
      update();
    });
    return chip;
  }));
}

fill("model", axes.model, 0);
fill("workload", axes.workload, 0);
fill("weights", [say("controls.any"), ...axes.weights], ANY, ANY);
fill("devices", [say("map.fewest"), ...map.devices.map(String)], 0);
at("controls").addEventListener("submit", (event) => event.preventDefault());
at("filter").addEventListener("input", () => { state.filter = at("filter").value; table(); });
at("every").addEventListener("change", () => { state.every = at("every").checked; tableHead(); table(); });
chips();
tableHead();
draw();

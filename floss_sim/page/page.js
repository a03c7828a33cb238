// Draws the pictures, and connects the sliders to the formula.
const { charts, whatIf: page, words } = JSON.parse(document.getElementById("page-data").textContent);
const byId = (id) => document.getElementById(id), names = page ? Object.keys(page.sliders) : [], views = {};
const fill = (text, values) => text.replace(/\{(\w+)\}/g, (_, key) => values[key]), percent = (share) => (100 * share).toFixed(1);
const scaled = (value, units, [unit, name] = units.find(([size]) => value >= size) || units.at(-1)) => `${Number((value / unit).toPrecision(3))} ${name}`;
let arrays, drawn, later;

async function unpacked() {
  const { index, text } = JSON.parse(byId("page-arrays").textContent), types = { Float64Array, Uint32Array, Uint16Array };
  const packed = new Blob([Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0))]).stream();
  const all = await new Response(packed.pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
  return index.map(([type, begin, length]) => new types[type](all, begin, length)).map((one) => one instanceof Uint16Array ? Uint32Array.from(one) : one);
}

// What each configuration reaches at some places of the sliders, and the best of them.
function answerAt(places) {
  const at = Object.fromEntries(names.map((name) => [name, page.sliders[name].values[places[name]]]));
  const set = { ratio: 0, rtt: null, compute: 1, ...at }, net = page.networks[at.network];
  const links = changedLinks(net, arrays, set), amount = budgetAmount(page, net, arrays, links, set);
  const outcomes = page.configs.map((one) => outcomeWithin(page, arrays, one, spending(page, net, arrays, links, set, one), amount)).filter((o) => o);
  return { set, net, links, outcomes, best: bestOutcome(page, outcomes) };
}

// An outcome as a row of the table and the pictures, with its times on some fleets.
function rowOf({ set, net, links, best }, outcome, count) {
  const { config, rounds, mean, low, high } = outcome, fleets = outcome.times || fleetTimes(config, net, arrays, links, set, count);
  const ends = fleets.map((closed) => closed[rounds - 1]), tell = (share) => scaled(quantile(ends, share), words.seconds);
  const time = ends.length > 1 ? fill(words.spread, { time: tell(0.5), low: tell(0.05), high: tell(0.95) }) : tell(0.5);
  const range = low < high ? fill(words.range, { low: percent(low), high: percent(high) }) : "";
  const row = { label: config.label, rounds, time, range, ranged: range && fill(words.ranged, { range }), accuracy: percent(mean),
    size: scaled(outcome.bytes, words.bytes), used: percent(outcome.share), kind: outcome === best ? words.best : words.other,
    x: ends[0], y: 100 * mean, low: 100 * low, high: 100 * high, named: config.named || outcome === best };
  return { ...row, told: fill(words.told, row), outcome, fleets };
}

function fillTable(id, lines, isBest) {
  const made = (tag, more) => Object.assign(document.createElement(tag), more), cell = (text, c) => made(c ? "td" : "th", { textContent: text, dir: "auto" });
  byId(id).replaceChildren(...lines.map((_, k) => made("tr", { className: isBest && isBest(k) ? "best" : "" })));
  lines.forEach((cells, k) => byId(id).rows[k].append(...cells.map(cell)));
}

function show(places) {
  const answer = answerAt(places), rows = answer.outcomes.map((one) => rowOf(answer, one, 1)), isBest = (row) => row.outcome === answer.best;
  rows.sort((a, b) => isBest(b) - isBest(a) || b.named - a.named || b.y - a.y);
  const first = rows.slice(0, words.shown).map((row) => rowOf(answer, row.outcome, answer.net.fleets)), chosen = names.map((name) => page.sliders[name].words[places[name]]);
  const middle = (key) => quantile(answer.links[key].subarray(0, answer.net.clients), 0.5), rate = (key) => scaled(middle(key), words.rates);
  byId("what-if-answer").textContent = first.length ? fill(words.answer, first[0]) : words.nothing;
  fillTable("what-if-rows", first.map((row) => words.columns.map((key) => row[key])), (k) => isBest(first[k]));
  byId("rates").textContent = fill(words.links, { down: rate("down"), up: rate("up"), rtt: scaled(middle("rtt"), words.seconds) });
  const compared = rows.filter((row) => row.named).map((row) => row.outcome.config.command);
  byId("command").textContent = [page.command, ...compared, ...chosen, page.fixed].filter((word) => word).join(" ");
  const points = rows.map(({ label, kind, x, y, low, high, told }) => ({ label, kind, x, y, low, high, told })).reverse();
  const partsOf = (config, parts) => fleetTimes(config, answer.net, arrays, answer.links, answer.set, 1, parts) && parts;
  const bars = first.flatMap(({ label, outcome: { config } }) => partsOf(config, [0, 0, 0, 0]).map((seconds, place) => (
    { label, part: words.parts[place], place, seconds: seconds / config.runs.length })));
  const draw = (name, values) => views[name] ? views[name].data("rows", values).runAsync() : (charts[name].data.values = values);
  drawn = Promise.all([draw("what-if", points), draw("parts", bars)]);
  return { best: answer.best && answer.best.config.label, rows: first };
}

// Where the best configuration changes along each slider, the others staying; one slider at a time.
function fillCrossovers(places, [name, ...more], lines) {
  const { values, told, label } = page.sliders[name];
  const at = values.map((_, place) => (answerAt({ ...places, [name]: place }).best || { config: { label: words.none } }).config.label);
  const ends = [...at.keys()].filter((k) => at[k] !== at[k + 1]), begins = [0, ...ends.map((k) => k + 1)];
  const line = ends.map((k, i) => fill(begins[i] < k ? words.stretch : words.single, { from: told[begins[i]], to: told[k], best: at[k] })).join("; ");
  fillTable("crossovers", [...lines, [label, line]]);
  if (more.length) later = setTimeout(() => fillCrossovers(places, more, [...lines, [label, line]]), 0);
}

function update() {
  const places = Object.fromEntries(names.map((name) => [name, Number(byId(`set-${name}`).value)]));
  names.forEach((name) => byId(`told-${name}`).textContent = byId(`set-${name}`).ariaValueText = page.sliders[name].told[places[name]]);
  history.replaceState(null, "", "#" + names.map((name) => `${name}=${places[name]}`).join("&"));
  clearTimeout(later);
  later = setTimeout(() => fillCrossovers(places, names.filter((name) => name !== "network"), []), 300);
  return show(places);
}

async function begin() {
  if (page) {
    arrays = await unpacked();
    for (const [name, place] of new URLSearchParams(location.hash.slice(1))) if (names.includes(name)) byId(`set-${name}`).value = place;
    names.forEach((name) => byId(`set-${name}`).addEventListener("input", update));
    byId("copy").addEventListener("click", () => {
      getSelection().selectAllChildren(byId("command"));
      byId("copied").textContent = document.execCommand("copy") ? words.copied : words.selected;
    });
    update();
  }
  for (const [name, spec] of Object.entries(charts))
    views[name] = (await vegaEmbed(`#chart-${name}`, spec, { renderer: "svg", actions: false, ast: true, defaultStyle: false })).view;
}
const ready = begin();

// Draws the pictures, and connects the sliders to the formula.
"use strict";
const { charts, whatIf: page, words } = JSON.parse(document.getElementById("page-data").textContent);
const byId = (id) => document.getElementById(id), names = page ? Object.keys(page.sliders) : [], views = {};
const fill = (text, values) => text.replace(/\{(\w+)\}/g, (_, key) => values[key]);
const percent = (share) => (100 * share).toFixed(1);
const scaled = (value, units) => {
  const [unit, name] = units.find(([size]) => value >= size) || units[units.length - 1];
  return `${Number((value / unit).toPrecision(3))} ${name}`;
};
let arrays, drawn;

async function unpacked() {
  const { index, text } = JSON.parse(byId("page-arrays").textContent), types = { Float64Array, Uint32Array, Uint16Array };
  const packed = new Blob([Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0))]).stream();
  const all = await new Response(packed.pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
  return index.map(([type, begin, length]) => new types[type](all, begin, length));
}

// The settings at some places of the sliders; a slider that the page lacks changes nothing.
function settingsAt(places) {
  const at = Object.fromEntries(names.map((name) => [name, page.sliders[name].values[places[name]]]));
  return { ratio: 0, rtt: null, compute: 1, budget: 1, ...at, net: page.networks[at.network] };
}

// What each configuration reaches at some settings, and the best of them.
function answerAt(set) {
  const links = changedLinks(set.net, arrays, set), amount = budgetAmount(page, set.net, arrays, links, set);
  const outcomes = page.configs.map((one) => outcomeWithin(page, arrays, one, spending(page, set.net, arrays, links, set, one), amount));
  return { set, links, outcomes: outcomes.filter((one) => one), best: bestOutcome(page, outcomes.filter((one) => one)) };
}

// An outcome as a row of table and pictures: with its time, and the parts of a round.
function rowOf({ set, links, best }, outcome) {
  const parts = [0, 0, 0, 0], fleets = fleetTimes(outcome.config, set.net, arrays, links, set, set.net.fleets, parts);
  const ends = fleets.map((closed) => closed[outcome.rounds - 1]), tell = (share) => scaled(quantile(ends, share), words.seconds);
  const time = ends.length > 1 ? fill(words.spread, { time: tell(0.5), low: tell(0.05), high: tell(0.95) }) : tell(0.5);
  const told = { label: outcome.config.label, rounds: outcome.rounds, time, size: scaled(outcome.bytes, words.bytes),
    accuracy: percent(outcome.mean), range: outcome.low < outcome.high ? fill(words.range, { low: percent(outcome.low), high: percent(outcome.high) }) : "",
    used: percent(outcome.share) };
  return { ...told, outcome, fleets, parts, x: quantile(ends, 0.5), y: 100 * outcome.mean, low: 100 * outcome.low, high: 100 * outcome.high,
    kind: outcome === best ? words.best : words.other, told: fill(words.told, told) };
}

function show(places) {
  const answer = answerAt(settingsAt(places)), rows = answer.outcomes.map((one) => rowOf(answer, one));
  rows.sort((a, b) => (b.outcome === answer.best) - (a.outcome === answer.best) || b.outcome.config.named - a.outcome.config.named || b.y - a.y);
  byId("what-if-answer").textContent = rows.length ? fill(words.answer, rows[0]) : words.nothing;
  byId("what-if-rows").replaceChildren(...rows.slice(0, words.shown).map((row) => {
    const line = document.createElement("tr");
    words.columns.forEach((key, k) => (line.appendChild(document.createElement(k ? "td" : "th")).textContent = row[key]));
    line.className = row.outcome === answer.best ? "best" : "";
    return line;
  }));
  const compared = rows.filter((row, k) => !k || row.outcome.config.named).map((row) => row.outcome.config.command);
  byId("command").textContent = [page.command, ...compared, ...names.map((name) => page.sliders[name].words[places[name]])].filter((word) => word).join(" ");
  const bars = rows.slice(0, words.shown).flatMap((row) => words.parts.map((part, place) => ({ label: row.label, part, place, seconds: row.parts[place] })));
  const draw = (name, values) => views[name] ? views[name].data("rows", values).runAsync() : (charts[name].data.values = values);
  drawn = Promise.all([draw("what-if", rows.toReversed().map(({ label, kind, x, y, low, high, told }) => ({ label, kind, x, y, low, high, told }))), draw("parts", bars)]);
  return { best: answer.best && answer.best.config.label, rows };
}

// Where the best configuration changes along each slider, the others staying.
function crossovers(places) {
  return names.filter((name) => name !== "network").map((name) => {
    const at = page.sliders[name].values.map((_, place) => answerAt(settingsAt({ ...places, [name]: place })).best);
    const ends = at.map((best, k) => k).filter((k) => k === at.length - 1 || (at[k] && at[k].config) !== (at[k + 1] && at[k + 1].config));
    const told = ends.map((k, i) => fill(words.stretch, { from: page.sliders[name].told[i ? ends[i - 1] + 1 : 0], to: page.sliders[name].told[k],
      best: at[k] ? at[k].config.label : words.none }));
    return [page.sliders[name].label, told.join("; ")];
  });
}

function readPlaces() {
  const places = Object.fromEntries(names.map((name) => [name, Number(byId(`set-${name}`).value)]));
  names.forEach((name) => {
    byId(`told-${name}`).textContent = page.sliders[name].told[places[name]];
    byId(`set-${name}`).setAttribute("aria-valuetext", page.sliders[name].told[places[name]]);
  });
  return places;
}

let later;
function update() {
  const places = readPlaces(), shown = show(places);
  history.replaceState(null, "", "#" + names.map((name) => `${name}=${places[name]}`).join("&"));
  clearTimeout(later);
  later = setTimeout(() => byId("crossovers").replaceChildren(...crossovers(places).map(([label, told]) => {
    const line = document.createElement("tr");
    [label, told].forEach((text, k) => (line.appendChild(document.createElement(k ? "td" : "th")).textContent = text));
    return line;
  })), 300);
  return shown;
}

async function begin() {
  if (page) await beginSliders();
  for (const [name, spec] of Object.entries(charts))
    views[name] = (await vegaEmbed(`#chart-${name}`, spec, { renderer: "svg", actions: false, ast: true, defaultStyle: false })).view;
}

async function beginSliders() {
  arrays = await unpacked();
  for (const [name, place] of new URLSearchParams(location.hash.slice(1))) if (names.includes(name)) byId(`set-${name}`).value = place;
  names.forEach((name) => byId(`set-${name}`).addEventListener("input", update));
  byId("copy").addEventListener("click", async () => {
    getSelection().selectAllChildren(byId("command"));
    try { await navigator.clipboard.writeText(byId("command").textContent); } catch { document.execCommand("copy"); }
    byId("copied").textContent = words.copied;
  });
  update();
}
const ready = begin();

// Times of recorded runs by the closed form of floss_sim.analysis.round_times, and the choice among
// configurations of planner.decisions.recommend. F fleets, N clients, R rounds, C clients of a round.
"use strict";

// Rates in bits/s and round trips in seconds of every client on every fleet (F x N) at some settings.
function changedLinks(net, arrays, set) {
  const [down, up, rtt] = ["down", "up", "rtt"].map((key) => Float64Array.from(arrays[net[key]]));
  for (let i = 0; i < down.length; i++) {
    up[i] = (set.ratio ? down[i] / set.ratio : up[i]) * set.up;
    down[i] *= set.down;
    rtt[i] = set.rtt === null ? rtt[i] : set.rtt;
  }
  return { down, up, rtt, loss: net.loss === null ? new Uint8Array(down.length) : arrays[net.loss] };
}

// Bits per second that TCP sustains under random loss (Padhye et al., SIGCOMM 1998).
function lossRate(transport, rtt, loss) {
  if (!loss) return Infinity;
  const again = Math.min(1, 3 * Math.sqrt((3 * 2 * loss) / 8)) * loss * (1 + 32 * loss * loss);
  return transport.segment_bits / (rtt * Math.sqrt((2 * 2 * loss) / 3) + (rtt + 0.2) * again);
}

// Seconds from first to last byte of bits that begin in slow start: the window doubles each round trip.
function slowStartSeconds(bits, rate, rtt, window) {
  let seconds = 0, now = Math.min(window, rate);
  for (; now < rate && bits > now * rtt; now = Math.min(2 * now, rate)) {
    bits -= now * rtt;
    seconds += rtt;
  }
  return seconds + bits / now;
}

// Instants at which the rounds of a run close on one fleet (R). `parts`, if given, gets the mean
// seconds of the last client of a round: download, computing, upload, latency.
function closingTimes(net, run, arrays, links, fleet, set, parts) {
  const clients = arrays[run.clients], on = run.on[net.number], once = on.first, N = net.clients, at = fleet * N;
  const down = on.down.map((k) => arrays[k]), up = on.up.map((k) => arrays[k]), transport = net.transport;
  const downRate = new Float64Array(N), upRate = new Float64Array(N), latency = new Float64Array(N);
  const work = new Float64Array(N), kind = links.loss.subarray(at, at + N), rtt = links.rtt.subarray(at, at + N);
  for (let n = 0; n < N; n++) {
    const most = lossRate(transport, rtt[n], net.losses[kind[n]]);
    [downRate[n], upRate[n]] = [Math.min(links.down[at + n], most), Math.min(links.up[at + n], most)];
    latency[n] = (transport.setup_rtts + 0.5) * rtt[n];
    work[n] = on.compute === null ? 0 : arrays[on.compute][at + n] * set.compute;
  }
  const send = (bytes, rate, n) => transport.window_bits && rtt[n]
    ? slowStartSeconds(8 * bytes, rate, rtt[n], transport.window_bits / rtt[n]) : (8 * bytes) / rate;
  const closed = new Float64Array(run.rounds), seen = new Uint8Array(N);
  for (let r = 0, i = 0, now = 0; r < run.rounds; r++, closed[r - 1] = now) {
    let slowest = 0, last = 0;
    for (let c = 0; c < run.cohort; c++, i++) {
      const n = clients[i];
      let all = send(down[kind[n]][i], downRate[n], n) + send(up[kind[n]][i], upRate[n], n) + work[n] + 2 * latency[n];
      if (once && !seen[n]) all += send(once.wire[kind[n]], downRate[n], n) + latency[n];
      seen[n] = 1;
      if (c === 0 || all > slowest) [slowest, last] = [all, i];
    }
    now += slowest;
    if (!parts) continue;
    const n = clients[last], uploading = send(up[kind[n]][last], upRate[n], n);
    const each = [send(down[kind[n]][last], downRate[n], n), work[n], uploading, 2 * latency[n]];
    each[0] += slowest - each[0] - each[1] - each[2] - each[3];  // a first download counts as a download
    each.forEach((seconds, k) => (parts[k] += seconds / run.rounds));
  }
  return closed;
}

// Payload bits over nominal rates of the first fleet, added up over clients, after each round (R).
function linkSeconds(clients, cohort, links, bytesOf, first) {
  const spent = new Float64Array(clients.length / cohort), seen = new Set();
  for (let i = 0, now = 0; i < clients.length; i++) {
    const n = clients[i], [down, up] = bytesOf(i), once = first && !seen.has(n) ? first.bytes : 0;
    seen.add(n);
    now += (8 * (once + down)) / links.down[n] + (8 * up) / links.up[n];
    if ((i + 1) % cohort === 0) spent[(i + 1) / cohort - 1] = now;
  }
  return spent;
}

// Quantile over fleets by the convention of numpy's "weibull".
function quantile(values, share) {
  const sorted = Float64Array.from(values).sort(), last = sorted.length - 1;
  const place = Math.min(Math.max(share * (last + 2) - 1, 0), last), low = Math.floor(place);
  return sorted[low] + (place - low) * (sorted[Math.min(low + 1, last)] - sorted[low]);
}

// Instants of a configuration on each fleet: the mean over its runs, which differ in the seed.
function fleetTimes(config, net, arrays, links, set, fleets, parts) {
  return Array.from({ length: fleets }, (_, f) => {
    const all = config.runs.map((run) => closingTimes(net, run, arrays, links, f, set, f ? null : parts));
    return all[0].subarray(0, config.rounds).map((_, r) => all.reduce((sum, one) => sum + one[r], 0) / all.length);
  });
}

// The budget's amount at some settings: bytes and the like are fixed, dense rounds depend on rates.
function budgetAmount(page, net, arrays, links, set) {
  const dense = page.budget.dense;
  if (!dense) return page.budget.amount * set.budget;
  const rounds = Math.max(1, Math.round(dense.rounds * set.budget));
  const clients = arrays[dense.clients].subarray(0, rounds * dense.cohort);
  return linkSeconds(clients, dense.cohort, links, () => [dense.bytes, dense.bytes], dense.first[net.number])[rounds - 1];
}

// Amount that a configuration has spent after a round (from 1), as a function of the round.
function spending(page, net, arrays, links, set, config) {
  if (page.budget.kind === "fixed") return (r) => arrays[config.spent[net.number]][r - 1];
  if (page.budget.kind === "seconds") {
    const times = fleetTimes(config, net, arrays, links, set, net.fleets);
    return (r) => quantile(times.map((closed) => closed[r - 1]), page.budget.share);
  }
  const run = config.runs[0], [down, up] = [arrays[run.down], arrays[run.up]];
  const clients = arrays[run.clients].subarray(0, run.rounds * run.cohort);
  const spent = linkSeconds(clients, run.cohort, links, (i) => [down[i], up[i]], run.on[net.number].first);
  return (r) => spent[r - 1];
}

// What a configuration reaches within the amount: its last evaluated round there; null if none.
function outcomeWithin(page, arrays, config, spent, amount) {
  let inside = 0;
  for (let above = config.rounds + 1; above - inside > 1; ) {
    const middle = (inside + above) >> 1;
    if (spent(middle) <= amount) inside = middle; else above = middle;
  }
  const all = config.rounds, half = all >> 1, evaluated = arrays[config.evaluated];
  let horizon = Math.min(inside, page.cap), k = evaluated.length - 1;
  if (inside === all && all < page.cap) {
    const each = (spent(all) - (half ? spent(half) : 0)) / (all - half) || spent(all) / all;
    horizon = Math.min(page.cap, all + Math.floor((amount - spent(all)) / each));
  }
  while (k >= 0 && evaluated[k] > Math.min(inside, config.most)) k--;
  if (k < 0) return null;
  const fallen = config.peak !== null && arrays[config.peak][k] !== k;
  if (fallen) k = arrays[config.peak][k];
  const next = page.schedule.find((r) => r > all), [mean, low, high, bytes] = config.figures.map((f) => arrays[f][k]);
  const open = !fallen && !config.baseline && next !== undefined && next <= horizon && config.most > all;
  return { config, k, rounds: evaluated[k], mean, low, high, bytes, open, share: spent(evaluated[k]) / amount };
}

// The preferred outcome: among those within the margin of the best, halving the bytes counts like
// `half` of accuracy. Unfinished ones count if clearly ahead, or if cheaper and no worse.
function bestOutcome(page, outcomes) {
  const { tie, half } = page.rule;
  const choose = (among) => {
    const top = among.reduce((a, b) => (b.mean > a.mean || (b.mean === a.mean && b.bytes < a.bytes) ? b : a));
    const margin = tie * (top.high - top.low), tied = among.filter((o) => o.mean >= top.mean - margin);
    const worth = (o) => half * Math.log2(o.bytes) - o.mean;
    return { least: top.mean + margin, chosen: tied.reduce((a, b) => (worth(b) < worth(a) ? b : a)) };
  };
  let among = outcomes.filter((o) => !o.open);
  if (!among.length) return outcomes.length ? choose(outcomes).chosen : null;
  const { least } = choose(among);
  for (let more = outcomes.filter((o) => o.open && o.mean > least); ; ) {
    among = among.concat(more);
    const { chosen } = choose(among);
    more = outcomes.filter((o) => !among.includes(o) && o.bytes < chosen.bytes && o.mean >= chosen.mean);
    if (!more.length) return chosen;
  }
}

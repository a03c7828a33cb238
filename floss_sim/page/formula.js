// Times of recorded runs by the closed form of floss_sim.analysis.round_times, and the choice among
// configurations of planner.decisions.recommend. F fleets, N clients, R rounds, C clients of a round.
"use strict";

// Rates in bits/s and round trips in seconds of every client on every fleet (F x N) at some settings.
function changedLinks(net, arrays, set) {
  const [down, up, rtt] = ["down", "up", "rtt"].map((key) => Float64Array.from(arrays[net[key]]));
  const rates = { down: down.map((rate) => rate * set.down), up: up.map((rate, i) => (set.ratio ? down[i] / set.ratio : rate) * set.up) };
  const loss = net.loss === null ? new Uint8Array(down.length) : arrays[net.loss];
  return { ...rates, rtt: set.rtt === null ? rtt : rtt.fill(set.rtt), loss };
}

// Bits per second that TCP sustains under random loss (Padhye et al., SIGCOMM 1998).
function lossRate(bits, rtt, loss) {
  const again = Math.min(1, 3 * Math.sqrt((3 * 2 * loss) / 8)) * loss * (1 + 32 * loss * loss);
  return loss ? bits / (rtt * Math.sqrt((2 * 2 * loss) / 3) + (rtt + 0.2) * again) : Infinity;
}

// Seconds from first to last byte of bits that begin in slow start: the window doubles each round trip.
function slowStartSeconds(bits, rate, rtt, window) {
  let seconds = 0, now = Math.min(window, rate);
  for (; now < rate && bits > now * rtt; now = Math.min(2 * now, rate), seconds += rtt) bits -= now * rtt;
  return seconds + bits / now;
}

// Instants at which the rounds of a run close on one fleet (R). `parts`, if given, gets the mean
// seconds of the last client of a round: download, computing, upload, latency.
function closingTimes(net, run, arrays, links, fleet, set, parts) {
  const clients = arrays[run.clients], on = run.on[net.number], once = on.first, N = net.clients, at = fleet * N;
  const { setup_rtts, window_bits, segment_bits } = net.transport, single = on.down.length === 1, cohort = run.cohort;
  const perDown = new Float64Array(N), perUp = new Float64Array(N), fixed = new Float64Array(N), seen = new Uint32Array(N);
  const kind = links.loss.subarray(at, at + N), rtt = links.rtt.subarray(at, at + N), closed = new Float64Array(run.rounds);
  const work = (n) => (on.compute === null ? 0 : arrays[on.compute][at + n] * set.compute), latency = (n) => (setup_rtts + 0.5) * rtt[n];
  for (let n = 0; n < N; n++) {
    const most = lossRate(segment_bits, rtt[n], net.losses[kind[n]]);
    [perDown[n], perUp[n]] = [8 / Math.min(links.down[at + n], most), 8 / Math.min(links.up[at + n], most)];
    fixed[n] = work(n) + 2 * latency(n);
  }
  const send = (bytes, per, n) => window_bits && rtt[n] ? slowStartSeconds(8 * bytes, 8 / per, rtt[n], window_bits / rtt[n]) : bytes * per;
  let down = arrays[on.down[0]], up = arrays[on.up[0]];
  for (let r = 0, i = 0, now = 0; r < run.rounds; r++, closed[r - 1] = now) {
    let slowest = -1, last = 0;
    for (let c = 0; c < cohort; c++, i++) {
      const n = clients[i];
      if (!single) [down, up] = [arrays[on.down[kind[n]]], arrays[on.up[kind[n]]]];
      let all = fixed[n] + (window_bits ? send(down[i], perDown[n], n) + send(up[i], perUp[n], n) : down[i] * perDown[n] + up[i] * perUp[n]);
      if (once && !seen[n]++) all += send(once.wire[kind[n]], perDown[n], n) + latency(n);
      if (all > slowest) { slowest = all; last = i; }
    }
    now += slowest;
    if (!parts) continue;
    const n = clients[last], rest = [work(n), send(arrays[on.up[kind[n]]][last], perUp[n], n), 2 * latency(n)];
    [slowest - rest[0] - rest[1] - rest[2], ...rest].forEach((seconds, k) => (parts[k] += seconds / run.rounds));
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

// Instants of a configuration on some fleets: the mean over its runs, which differ in the seed.
function fleetTimes(config, net, arrays, links, set, fleets, parts) {
  return Array.from({ length: fleets }, (_, f) => {
    const all = config.runs.map((run) => closingTimes(net, run, arrays, links, f, set, f ? null : parts));
    return all.length === 1 ? all[0] : all[0].subarray(0, config.rounds).map((_, r) => all.reduce((sum, one) => sum + one[r], 0) / all.length);
  });
}

// The budget's amount at some settings: bytes and the like are fixed, dense rounds depend on rates.
function budgetAmount(page, net, arrays, links, set) {
  const dense = page.budget.dense;
  if (!dense) return page.budget.amount * set.budget;
  const rounds = Math.max(1, Math.round(dense.rounds * set.budget)), all = arrays[dense.clients].subarray(0, rounds * dense.cohort);
  return linkSeconds(all, dense.cohort, links, () => [dense.bytes, dense.bytes], dense.first[net.number])[rounds - 1];
}

// Amount that a configuration has spent after a round (from 1), as a function of the round; with its
// seconds, if a limit is one of seconds.
function spending(page, net, arrays, links, set, config) {
  const { kind, share } = page.budget, timed = kind === "seconds" || page.mostRoundSeconds;
  const times = timed && fleetTimes(config, net, arrays, links, set, net.fleets);
  const seconds = (r) => quantile(times.map((closed) => closed[r - 1]), share), made = (of) => Object.assign(of, timed && { times, seconds });
  if (kind !== "link") return made(kind === "seconds" ? seconds : (r) => arrays[config.spent[net.number]][r - 1]);
  const run = config.runs[0], down = arrays[run.down], up = arrays[run.up], clients = arrays[run.clients];
  const spent = linkSeconds(clients.subarray(0, run.rounds * run.cohort), run.cohort, links, (i) => [down[i], up[i]], run.on[net.number].first);
  return made((r) => spent[r - 1]);
}

// What a configuration reaches within the amount: its last evaluated round there, or the first one at
// a target; null if none, or if its mean round takes too long.
function outcomeWithin(page, arrays, config, spent, amount) {
  let inside = 0;
  for (let above = config.rounds + 1; above - inside > 1; ) {
    const middle = (inside + above) >> 1;
    [inside, above] = spent(middle) <= amount ? [middle, above] : [inside, middle];
  }
  const all = config.rounds, half = all >> 1, evaluated = arrays[config.evaluated], next = page.schedule.find((r) => r > all);
  const each = (spent(all) - (half ? spent(half) : 0)) / (all - half) || spent(all) / all;
  const horizon = Math.min(page.cap, inside < all ? inside : all + Math.floor((amount - spent(all)) / each));
  let k = evaluated.findLastIndex((r) => r <= Math.min(inside, config.most, page.cap));
  if (k < 0) return null;
  const first = page.target === null ? -1 : arrays[config.figures[0]].findIndex((mean) => mean >= page.target);
  const reached = first >= 0 && first <= k, fallen = !reached && config.peak !== null && arrays[config.peak][k] !== k;
  k = reached ? first : fallen ? arrays[config.peak][k] : k;
  if (page.mostRoundSeconds && spent.seconds(evaluated[k]) > page.mostRoundSeconds * evaluated[k]) return null;
  const [mean, low, high, bytes] = config.figures.map((figure) => arrays[figure][k]);
  const open = !reached && !fallen && !config.baseline && next !== undefined && next <= horizon && config.most > all;
  return { config, rounds: evaluated[k], mean, low, high, bytes, open, reached, share: spent(evaluated[k]) / amount, times: spent.times };
}

// The preferred outcome: the one that reaches a target for least; else, among those within the margin of the best, halving the bytes counts like
// `half` of accuracy. Unfinished ones count if clearly ahead, or if cheaper and no worse.
function bestOutcome(page, outcomes) {
  const { tie, half } = page.rule, done = outcomes.filter((o) => o.reached), worth = (o) => half * Math.log2(o.bytes) - o.mean;
  const choose = (among) => {
    const top = among.reduce((a, b) => (b.mean > a.mean || (b.mean === a.mean && b.bytes < a.bytes) ? b : a));
    const margin = tie * (top.high - top.low), tied = among.filter((o) => o.mean >= top.mean - margin);
    return { least: top.mean + margin, chosen: tied.reduce((a, b) => (worth(b) < worth(a) ? b : a)) };
  };
  if (done.length) return done.reduce((a, b) => (b.share < a.share ? b : a));
  let among = outcomes.filter((o) => !o.open);
  if (!among.length) return outcomes.length ? choose(outcomes).chosen : null;
  for (let { least } = choose(among), more = outcomes.filter((o) => o.open && o.mean > least); ; ) {
    among = among.concat(more);
    const { chosen } = choose(among);
    more = outcomes.filter((o) => !among.includes(o) && o.bytes < chosen.bytes && o.mean >= chosen.mean);
    if (!more.length) return chosen;
  }
}

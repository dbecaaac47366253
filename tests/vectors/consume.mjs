// Five functions of the paper in another language, held against the vectors: node consume.mjs [FOLDER]
//
// Written from the formulas as the headers state them. What is invalid throws. Exit status 1 if a vector fails.

import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const EPS = 2 ** -52;

// What is let in

function finite(...values) {
  for (const v of values.flat()) if (typeof v !== "number" || !Number.isFinite(v)) throw new RangeError(`${v} is no number`);
}

function positive(...values) {
  finite(...values);
  for (const v of values) if (v <= 0) throw new RangeError(`${v} is no variance`);
}

function vectors(d, ...states) {
  for (const x of states) if (!Array.isArray(x) || x.length !== d || d < 1) throw new RangeError(`not ${d} components`);
  finite(...states);
}

function rates(beta) {
  if (beta.length === 0) throw new RangeError("no rates");
  finite(beta);
  for (const b of beta) if (!(b > 0 && b <= 1)) throw new RangeError(`${b} is no rate`);
}

function time(t, first, last) {
  if (!Number.isInteger(t) || t < first || t > last) throw new RangeError(`${t} is not in ${first}..${last}`);
}

// abar_t and 1 - abar_t, t = 0..T, the latter without subtracting the former from 1

function tables(beta) {
  rates(beta);
  const abar = [1], lost = [0];
  beta.forEach((b, k) => {
    lost.push(lost[k] + abar[k] * b);
    abar.push(abar[k] * (1 - b));
  });
  return { abar, lost };
}

// a/b - 1 - log(a/b), without the cancellation near a = b: with x = a/b - 1 and s = x / (2 + x), log(1 + x) = 2 (s + s^3/3 + s^5/5 + ...)

function excess(a, b) {
  const x = (a - b) / b;
  if (Math.abs(x) > 0.5) return x - Math.log(a / b);
  const s = x / (2 + x);
  let series = 0;
  for (let k = 30; k >= 0; k--) series = series * s * s + 1 / (2 * k + 3);
  return s * (x - 2 * s * s * series);
}

const logNormal = (x, mean, variance) => -(Math.log(2 * Math.PI * variance) + ((x - mean) / variance) * (x - mean)) / 2;
const sum = (values) => values.reduce((a, b) => a + b, 0);

// The functions

const implementations = {
  gaussian_kl({ mean_q, var_q, mean_p, var_p }) {
    finite(mean_q, mean_p);
    positive(var_q, var_p);
    const far = mean_q - mean_p;
    return { kl: (excess(var_q, var_p) + (far / var_p) * far) / 2 };
  },

  bernoulli_entropy({ p1, p0 }) {
    finite(p1, p0);
    if (p1 < 0 || p0 < 0 || p1 > 1 || p0 > 1 || Math.abs(p1 + p0 - 1) > 4 * EPS) throw new RangeError("no law of a bit");
    const small = Math.min(p1, p0);
    if (small === 0) return { entropy: 0 };
    return { entropy: -small * Math.log(small) - (1 - small) * Math.log1p(-small) };
  },

  gaussian_posterior({ beta, t, x0, xt }) {
    const { abar, lost } = tables(beta);
    time(t, 2, beta.length);
    vectors(x0.length, x0, xt);
    const b = beta[t - 1];
    const ofX0 = (Math.sqrt(abar[t - 1]) * b) / lost[t];
    const ofXt = (Math.sqrt(1 - b) * lost[t - 1]) / lost[t];
    return { mean: x0.map((v, i) => ofX0 * v + ofXt * xt[i]), var: (b * lost[t - 1]) / lost[t] };
  },

  binomial_posterior({ beta, t, x0, xt, prior }) {
    const { abar, lost } = tables(beta);
    time(t, 2, beta.length);
    vectors(prior.length, x0, xt, prior);
    const b = beta[t - 1];
    const pairs = prior.map((pi, i) => {
      for (const bit of [x0[i], xt[i]]) if (bit !== 0 && bit !== 1) throw new RangeError(`${bit} is no bit`);
      if (!(pi > 0 && pi < 1)) throw new RangeError(`${pi} is no prior`);
      const ofPi = (bit) => (bit ? pi : 1 - pi);
      const joint = (bit) => (abar[t - 1] * (bit === x0[i]) + lost[t - 1] * ofPi(bit)) * ((1 - b) * (bit === xt[i]) + b * ofPi(xt[i]));
      const total = joint(1) + joint(0);
      return [joint(1) / total, joint(0) / total];
    });
    return { prob1: pairs.map((p) => p[0]), prob0: pairs.map((p) => p[1]) };
  },

  gaussian_log_weight({ beta, slope, shift, var: variance, trajectory }) {
    rates(beta);
    const T = beta.length;
    for (const list of [slope, shift, variance]) if (list.length !== T - 1) throw new RangeError("not one kernel to a step");
    if (trajectory.length !== T + 1) throw new RangeError("not T + 1 states");
    finite(slope);
    positive(...variance);
    vectors(trajectory[0].length, ...trajectory);
    if (T > 1) vectors(trajectory[0].length, ...shift);
    let log = sum(trajectory[T].map((x) => logNormal(x, 0, 1)));
    for (let t = 1; t <= T; t++) {
      const [before, after, b] = [trajectory[t - 1], trajectory[t], beta[t - 1]];
      const kept = Math.sqrt(1 - b);
      log += sum(before.map((x, i) => (t === 1 ? logNormal(x, kept * after[i], b) : logNormal(x, slope[t - 2] * after[i] + shift[t - 2][i], variance[t - 2]))));
      log -= sum(after.map((x, i) => logNormal(x, kept * before[i], b)));
    }
    return { log_weight: log };
  },
};

// The comparison

const leaves = (value) => (value !== null && typeof value === "object" ? Object.values(value).flatMap(leaves) : [value]);
const number = (value) => (value === "inf" ? Infinity : value === "-inf" ? -Infinity : Number(value));

/** The largest error, in units of the tolerance; not a number compares as infinitely wrong. */
function error(got, wanted, tolerance) {
  const [a, b, allowed] = [leaves(got), leaves(wanted).map(number), leaves(tolerance)];
  if (a.length !== b.length) return Infinity;
  return Math.max(...a.map((v, i) => (Object.is(v, b[i]) || v === b[i] ? 0 : Number.isNaN(v) ? Infinity : Math.abs(v - b[i]) / allowed[i])));
}

/** The mistakes whose wrong output this is, to the six digits that are given. */
function resembles(got, vector) {
  const near = (a, b) => a === b || Math.abs(a - b) <= 1e-5 * Math.abs(b);
  return Object.entries(vector.wrong)
    .filter(([, wrong]) => Object.entries({ ...vector.output, ...wrong }).every(([key, value]) => {
      const [a, b] = [leaves(got[key]), leaves(value).map(number)];
      return a.length === b.length && a.every((v, i) => near(v, b[i]));
    }))
    .map(([name]) => name);
}

function refused(implementation, input) {
  try {
    implementation(input);
    return false;
  } catch {
    return true;
  }
}

const folder = process.argv[2] ?? dirname(fileURLToPath(import.meta.url));
let failures = 0;
for (const [name, implementation] of Object.entries(implementations)) {
  const [header, ...lines] = readFileSync(join(folder, `${name}.jsonl`), "utf8").trimEnd().split("\n").map((line) => JSON.parse(line));
  if (header.schema !== 1 || header.count !== lines.length) throw new Error(`${name}: not the vectors that the header announces`);
  let [right, turnedAway, worst] = [0, 0, 0];
  for (const vector of lines) {
    if (vector.result === "invalid") {
      if (refused(implementation, vector.input)) turnedAway += 1;
      else { failures += 1; console.log(`${vector.id}: not refused, ${vector.flags}`); }
      continue;
    }
    const got = implementation(vector.input);
    const off = error(got, vector.output, vector.tolerance);
    worst = Math.max(worst, off);
    if (off <= 1) { right += 1; continue; }
    failures += 1;
    const like = resembles(got, vector);
    console.log(`${vector.id}: got ${JSON.stringify(got)}, wanted ${JSON.stringify(vector.output)}${like.length ? `, like ${like}` : ""}`);
  }
  console.log(`${name}: ${right} right, ${turnedAway} refused, of ${lines.length}; the worst error is ${worst.toFixed(3)} of its tolerance`);
}
process.exit(failures ? 1 : 0);

/* The filter: each field that is filled in must fit. Reads what people type, such as `over 500 ms` or `5xx`. */

import { headerLines, sizeOf, statusOf } from "./exchange.js";

export const FIELDS = ["path", "method", "status", "tunnel", "duration", "size", "header"];

const AMOUNT = /^(over|under|>=?|<=?|at least|at most)?\s*(\d+(?:\.\d+)?)\s*([a-zµ]*)$/i;
const TIMES = { ns: 1, us: 1e3, "µs": 1e3, ms: 1e6, "": 1e6, s: 1e9, sec: 1e9, min: 60e9, m: 60e9 };
const SIZES = { "": 1, b: 1, bytes: 1, k: 1e3, kb: 1e3, kib: 1024, m: 1e6, mb: 1e6, mib: 1024 ** 2, gb: 1e9, gib: 1024 ** 3 };

/* A test of a number; throws an Error with words when the text is none. Without a comparison it means at least. */
const amount = (text, units, example) => {
  const found = AMOUNT.exec(text.trim());
  const factor = found && units[found[3].toLowerCase()];
  if (!factor) throw new Error(`write it like ${example}`);
  const limit = Number(found[2]) * factor;
  switch ((found[1] || "at least").toLowerCase()) {
    case "over": case ">": return (value) => value > limit;
    case "under": case "<": return (value) => value < limit;
    case "at most": case "<=": return (value) => value <= limit;
    default: return (value) => value >= limit;
  }
};

const hasText = (text, wanted) => text.toLowerCase().includes(wanted.toLowerCase());

const status = (text) => {
  const wanted = text.trim().toLowerCase();
  if (wanted === "none") return (exchange) => !exchange.response;
  if (/^[1-5]xx$/.test(wanted)) return (exchange) => Math.floor(statusOf(exchange) / 100) === Number(wanted[0]);
  if (/^\d{3}$/.test(wanted)) return (exchange) => statusOf(exchange) === Number(wanted);
  throw new Error("write it like 404, 5xx, or none for requests without an answer");
};

/* `name: value` finds the value in that header, a word by itself finds it in any name or value; of request and response. */
const header = (text) => {
  const [name, ...rest] = text.split(":");
  const value = rest.join(":").trim();
  const fits = rest.length
    ? ([key, words]) => key.toLowerCase() === name.trim().toLowerCase() && hasText(words, value)
    : ([key, words]) => hasText(key, text.trim()) || hasText(words, text.trim());
  return (exchange) => [exchange.request, exchange.response].some((message) => message && headerLines(message).some(fits));
};

const TESTS = {
  path: (text) => (exchange) => hasText(exchange.request.uri, text.trim()),
  method: (text) => (exchange) => exchange.request.method.toLowerCase() === text.trim().toLowerCase(),
  status,
  tunnel: (text) => (exchange) => exchange.tunnel_name === text,
  duration: (text) => { const fits = amount(text, TIMES, "over 500 ms"); return (exchange) => fits(exchange.duration); },
  size: (text) => { const fits = amount(text, SIZES, "over 10 kB"); return (exchange) => fits(sizeOf(exchange.response)); },
  header,
};

/* Reads the fields. Returns `fits`, which tests an exchange, and `problems`: what could not be read, by field. */
export const readFilter = (fields) => {
  const tests = [];
  const problems = {};
  for (const name of FIELDS) {
    const text = fields[name] || "";
    if (!text.trim()) continue;
    try {
      tests.push(TESTS[name](text));
    } catch (error) {
      problems[name] = error.message;
    }
  }
  return { fits: (exchange) => tests.every((test) => test(exchange)), problems, isEmpty: !tests.length };
};

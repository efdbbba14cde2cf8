/* The list of exchanges: newest first, bounded, and drawn in batches however fast they come. */

import { el } from "./dom.js";
import { isOpen, sizeOf, whoOf } from "./exchange.js";
import { rule, statusBadge } from "./detail.js";
import { size, took } from "./words.js";

export const MAX_KEPT = 1000; // exchanges that a filter looks through
export const MAX_ROWS = 500;
const MAX_WAITING = 500; // events that are not read yet; older ones would be pushed off the list anyway
const REST = 4; // the list rests so many times as long as a batch took to draw, and leaves the browser to the person

const row = (exchange, open) => {
  const { request } = exchange;
  const who = whoOf(exchange);
  const by = rule(exchange);
  return el("tr", { "data-id": exchange.id },
    el("td", { class: "r-time num soft" }, el("time", { datetime: exchange.start, title: exchange.start }, clock(new Date(exchange.start)))),
    el("td", { class: "r-status" }, statusBadge(exchange)),
    el("td", { class: "r-request" },
      el("button", { type: "button", class: "row-link cut", title: `${request.method} ${request.uri}`, onclick: () => open(exchange.id) },
        el("span", { class: "method" }, request.method), " ", el("bdi", {}, request.uri)),
      el("span", { class: "sub cut" }, el("bdi", {}, exchange.tunnel_name))),
    el("td", { class: "r-who" }, el("span", { class: "cut", title: who }, el("bdi", {}, who || "–")), by ? el("span", { class: "sub cut", title: by.textContent }, by) : null),
    el("td", { class: "r-served num" }, el("span", { class: "cut" }, isOpen(exchange) ? "…" : took(exchange.duration)),
      el("span", { class: "sub cut" }, exchange.response ? size(sizeOf(exchange.response)) : exchange.error || "")));
};

/* Note an event as the newest, and forget the oldest when there are too many. */
const note = (events, id, text) => {
  events.delete(id);
  events.set(id, text);
  if (events.size > MAX_WAITING) events.delete(events.keys().next().value);
};

/* Bring a row up to date. Its button stays the same element: a click on it would be lost with it. */
const update = (old, fresh) => {
  for (const cell of [".r-status", ".r-who", ".r-served"]) old.querySelector(cell).replaceWith(fresh.querySelector(cell));
};

export class List {
  /* `open` is called with the id of a row that is chosen, `changed` after each batch. */
  constructor(body, open, changed) {
    this.body = body;
    this.open = open;
    this.changed = changed;
    this.fits = () => true;
    this.kept = new Map(); // newest last
    this.rows = new Map();
    this.waiting = new Map(); // the text of each event that is not read yet, by the exchange's id
    this.meanwhile = new Map(); // the same, of those that came since all were last fetched
    this.selected = "";
    this.isPaused = false;
    this.isScheduled = false;
  }

  /* Exchanges that fit the filter and have a row, newest first. */
  get ids() {
    return [...this.body.children].map((each) => each.dataset.id);
  }

  /* Take the text of an event about this exchange. It is read later, if it is still among the newest then. */
  add(id, text) {
    note(this.waiting, id, text);
    note(this.meanwhile, id, text);
    this.schedule();
  }

  /* All exchanges are about to be fetched: events that come meanwhile count after them. */
  fetching() {
    this.meanwhile.clear();
  }

  /* Show these, newest first, instead of all that there was. */
  replaceAll(exchanges) {
    this.waiting = new Map(this.meanwhile);
    this.kept = new Map(exchanges.slice(0, MAX_KEPT).reverse().map((exchange) => [exchange.id, exchange]));
    this.redraw();
    if (this.waiting.size) this.schedule();
  }

  clear() {
    this.meanwhile.clear();
    this.replaceAll([]);
  }

  filter(fits) {
    this.fits = fits;
    this.redraw();
  }

  pause(isPaused) {
    this.isPaused = isPaused;
    this.body.toggleAttribute("data-paused", isPaused);
    if (!isPaused) this.schedule();
  }

  select(id) {
    this.selected = id;
    for (const each of this.body.querySelectorAll("[aria-current]")) each.removeAttribute("aria-current");
    const found = this.rows.get(id);
    if (!found) return;
    found.setAttribute("aria-current", "true");
    found.scrollIntoView({ block: "nearest" });
  }

  schedule() {
    if (this.isScheduled) return;
    this.isScheduled = true;
    requestAnimationFrame(() => this.flush());
  }

  /* Draw what has come since the last batch, then rest. */
  flush() {
    const began = performance.now();
    if (!this.isPaused) {
      for (const text of this.waiting.values()) this.take(JSON.parse(text));
      this.waiting.clear();
      this.trim();
    }
    this.changed();
    requestAnimationFrame(() => setTimeout(() => this.rested(), REST * (performance.now() - began))); // it is painted
  }

  rested() {
    this.isScheduled = false;
    if (this.waiting.size && !this.isPaused) this.schedule();
  }

  take(exchange) {
    const before = this.kept.get(exchange.id);
    if (before && before.is_over && !exchange.is_over) return; // an event that is older than the list
    this.kept.set(exchange.id, exchange);
    const old = this.rows.get(exchange.id);
    if (!this.fits(exchange)) {
      if (old) this.drop(exchange.id);
    } else if (old) {
      update(old, row(exchange, this.open));
    } else if (!before || !this.fits(before)) {
      this.body.prepend(this.make(exchange));
    }
  }

  make(exchange) {
    const made = row(exchange, this.open);
    if (exchange.id === this.selected) made.setAttribute("aria-current", "true");
    this.rows.set(exchange.id, made);
    return made;
  }

  drop(id) {
    this.rows.get(id).remove();
    this.rows.delete(id);
  }

  trim() {
    while (this.body.childElementCount > MAX_ROWS) this.drop(this.body.lastElementChild.dataset.id);
    for (const id of this.kept.keys()) {
      if (this.kept.size <= MAX_KEPT) break;
      this.kept.delete(id);
    }
  }

  redraw() {
    const shown = [...this.kept.values()].reverse().filter(this.fits).slice(0, MAX_ROWS);
    this.rows.clear();
    this.body.replaceChildren(...shown.map((exchange) => this.make(exchange)));
    this.changed();
  }
}

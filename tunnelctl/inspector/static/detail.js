/* The pane that shows one exchange: what it was, its headers, bodies and bytes, and what can be done with it. */

import * as api from "./api.js";
import { formPairs, hexDump, multipartPairs, pairsTable, readBody, showBody } from "./body.js";
import { curlOf } from "./curl.js";
import { el, facts, icon } from "./dom.js";
import { headerLines, isOpen, queryOf, splitRaw, statusOf } from "./exchange.js";
import { size, took } from "./words.js";

const TABS = ["Summary", "Headers", "Body", "Raw"];
const PHASES = [
  ["gate", "Relay", "until the relay let the visitor in and handed the request over"],
  ["connect", "Connect", "to get a connection to the local service"],
  ["send", "Send", "to send the request to it"],
  ["wait", "Wait", "for the first byte of its answer"],
  ["receive", "Receive", "until its answer was whole"],
];

export const statusBadge = (exchange) => {
  const code = statusOf(exchange);
  if (code) return el("span", { class: `status s${Math.floor(code / 100)}` }, String(code));
  return isOpen(exchange)
    ? el("span", { class: "status", title: "No answer yet" }, "…")
    : el("span", { class: "status s5", title: exchange.error }, "none");
};

/* Which rule let the visitor in; null where the relay has not told. */
export const rule = (exchange) => {
  if (exchange.replay_of) return el("span", { class: "verdict wait" }, icon("replay"), "sent again from here");
  const words = exchange.visitor && exchange.visitor.rule;
  return words ? el("span", { class: "verdict good" }, icon("check"), el("bdi", {}, words)) : null;
};

const people = (exchange) => {
  const { name, email, subject } = exchange.visitor || {};
  const words = [name, email, subject].filter((word, at, all) => word && all.indexOf(word) === at);
  return words.length ? words.map((word, at) => el(at ? "span" : "bdi", { class: at ? "sub" : null }, word)) : null;
};

const bodyFact = (message) => {
  if (!message || !message.body || !message.body.size) return "none";
  const kept = message.body.kept < message.body.size ? `, the first ${size(message.body.kept)} kept` : "";
  return `${size(message.body.size)}${kept}, ${message.body.type || "no content type"}`;
};

/* Where the time went: a bar, and each part in words. What is not known is left out. */
const timing = (exchange) => {
  const known = PHASES.filter(([name]) => exchange.timing && typeof exchange.timing[name] === "number");
  if (!known.length) return null;
  const bar = el("div", { class: "phases", "aria-hidden": "true" }, known.map(([name]) => {
    const part = el("span", { class: `phase ${name}` });
    part.style.flexGrow = exchange.timing[name];
    return part;
  }));
  const words = known.map(([name, title, meaning]) =>
    el("li", { title: meaning }, el("span", { class: `phase-key ${name}`, "aria-hidden": "true" }), title, " ",
      el("span", { class: "num" }, took(exchange.timing[name]))));
  return el("section", { "aria-label": "Where the time went" }, el("h3", {}, "Where the time went"), bar, el("ul", { class: "phase-list" }, words));
};

const titled = (title, ...children) => el("section", { "aria-label": title }, el("h3", {}, title), ...children);

const formOf = (request) => {
  const body = readBody(request);
  if (body.type === "application/x-www-form-urlencoded" && body.text) return formPairs(body.text);
  if (body.type === "multipart/form-data") return multipartPairs(body.bytes, request.body ? request.body.type : "");
  return [];
};

const summary = (exchange, page) => {
  const { request, response } = exchange;
  const query = formPairs(queryOf(exchange));
  const form = formOf(request);
  const at = new Date(exchange.start);
  return [
    facts([
      ["Answer", response ? response.status : isOpen(exchange) ? "not yet" : exchange.error],
      ["Broken off", response && exchange.error ? exchange.error : ""],
      ["Who", people(exchange)],
      ["Let in by", exchange.replay_of ? null : rule(exchange)],
      ["From", el("code", {}, (exchange.visitor && exchange.visitor.address) || exchange.remote_addr)],
      ["When", el("time", { datetime: exchange.start }, `${at.toLocaleDateString()} ${clock(at)}`)],
      ["Took", el("span", { class: "num" }, isOpen(exchange) ? "not over" : took(exchange.duration))],
      ["Tunnel", exchange.tunnel_name],
      ["Request body", bodyFact(request)],
      ["Response body", response ? bodyFact(response) : null],
      ["Upgrade", exchange.is_upgrade ? "a connection of its own, whose bytes are not kept" : null],
      ["Replay of", exchange.replay_of ? el("button", { type: "button", class: "link", onclick: () => page.open(exchange.replay_of) }, exchange.replay_of) : null],
    ]),
    timing(exchange),
    query.length ? titled("Query", pairsTable(query, "Query parameters")) : null,
    form.length ? titled("Form", pairsTable(form, "Form fields")) : null,
  ];
};

/* The same of request and response, one below the other. */
const both = (exchange, show) => {
  const request = titled("Request", ...show(exchange.request));
  if (exchange.response) return [request, titled("Response", ...show(exchange.response))];
  return [request, titled("Response", el("p", { class: "soft" }, isOpen(exchange) ? "Not yet." : `None: ${exchange.error}.`))];
};

const headers = (message) => {
  const lines = headerLines(message);
  return [lines.length ? pairsTable(lines, "Headers") : el("p", { class: "soft" }, "No headers.")];
};

const raw = (message) => {
  const { head } = splitRaw(message);
  const body = readBody(message);
  const shown = body.text === null ? hexDump(body.bytes) : body.text;
  return [el("pre", { class: "body", tabindex: "0", "aria-label": "Bytes" }, el("code", {}, `${head}\n\n${shown}`))];
};

const SHOWN = {
  Summary: summary,
  Headers: (exchange) => both(exchange, headers),
  Body: (exchange) => both(exchange, showBody),
  Raw: (exchange) => both(exchange, raw),
};

/* The pane. `page` opens other exchanges and dialogs, and knows the tunnels' addresses. */
export class Detail {
  constructor(pane, page) {
    this.pane = pane;
    this.page = page;
    this.tab = TABS[0];
    this.exchange = null;
    this.wanted = "";
  }

  /* Show the exchange with this id; an Error says why it cannot be. */
  async open(id) {
    this.wanted = id;
    const exchange = await api.exchange(id);
    if (this.wanted === id) this.show(exchange); // else another one was asked for meanwhile
  }

  show(exchange) {
    this.exchange = exchange;
    const top = this.pane.querySelector(".detail-body");
    const scrolled = top && this.pane.dataset.id === exchange.id ? top.scrollTop : 0;
    const body = el("div", { class: "detail-body", id: "detail-body", role: "tabpanel", "aria-labelledby": `tab-${this.tab}`, tabindex: "0" }, SHOWN[this.tab](exchange, this.page));
    this.pane.dataset.id = exchange.id;
    this.pane.replaceChildren(this.head(exchange), this.tabs(), body);
    this.pane.hidden = false;
    body.scrollTop = scrolled;
  }

  close() {
    this.exchange = null;
    this.wanted = "";
    this.pane.hidden = true;
    this.pane.replaceChildren();
  }

  choose(tab) {
    this.tab = tab;
    if (!this.exchange) return;
    this.show(this.exchange);
    this.pane.querySelector(`#tab-${tab}`).focus();
  }

  head(exchange) {
    const url = this.page.urlOf(exchange);
    const { command, notes } = curlOf(exchange, url);
    const copy = el("button", { type: "button", class: "button quiet small", id: "curl", "data-copy": command, onclick: () => this.page.tellCopied(notes) },
      "Copy as curl", el("span", { class: "aside" }));
    return el("div", { class: "detail-head" },
      el("div", { class: "spread" },
        el("h2", { class: "request-line" }, statusBadge(exchange), " ", el("span", { class: "method" }, exchange.request.method), " ",
          el("code", {}, el("bdi", {}, exchange.request.uri))),
        el("button", { type: "button", class: "icon-button", title: "Close", onclick: () => this.page.close() }, icon("close"), el("span", { class: "aside" }, "Close"))),
      el("div", { class: "row detail-actions" },
        el("button", { type: "button", class: "button primary small", id: "replay", onclick: () => this.page.replay() }, "Replay"),
        el("button", { type: "button", class: "button quiet small", id: "replay-changed", onclick: () => this.page.replayWithChanges() }, "Replay with changes"),
        copy,
        el("a", { class: "button quiet small", href: api.harOf(exchange.id), download: `request-${exchange.id}.har` }, "HAR")));
  }

  tabs() {
    const onkeydown = (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      event.preventDefault();
      this.choose(TABS[(TABS.indexOf(this.tab) + step + TABS.length) % TABS.length]);
    };
    return el("div", { class: "tabs", role: "tablist", "aria-label": "Parts of the request", onkeydown },
      TABS.map((tab) => el("button", {
        type: "button", role: "tab", id: `tab-${tab}`, "aria-controls": "detail-body", "aria-selected": String(tab === this.tab),
        tabindex: tab === this.tab ? "0" : "-1", onclick: () => this.choose(tab),
      }, tab)));
  }
}

/* The page of the status: the session, each tunnel with its figures, and the options. */

import { $, badge, card, copyButton, el, facts } from "./dom.js";
import { drawCharts } from "./draw.js";
import { stateBadge, watchSession } from "./session.js";
import { ago, tookSeconds } from "./words.js";

const RATES = [["rate1", "1 min"], ["rate5", "5 min"], ["rate15", "15 min"]];
const QUANTILES = ["p50", "p90", "p95", "p99"];
const TONES = { online: "good", binding: "wait", waiting: "wait", ended: "bad" };

const rate = (perSecond) => (perSecond ? perSecond.toFixed(perSecond < 10 ? 2 : 0) : "0");

const figures = (title, reading) =>
  el("tr", {}, el("th", { scope: "row" }, title),
    el("td", { class: "end num", "data-name": "Total" }, reading.count.toLocaleString("en")),
    el("td", { class: "end num", "data-name": "Open" }, String(reading.gauge)),
    RATES.map(([key, name]) => el("td", { class: "end num", "data-name": `A second, ${name}` }, rate(reading[key]))),
    QUANTILES.map((key) => el("td", { class: "end num", "data-name": key }, reading.count ? tookSeconds(reading[key]) : "–")));

const head = () =>
  el("thead", {}, el("tr", {}, ["", "Total", "Open", ...RATES.map(([, name]) => `/s ${name}`), ...QUANTILES].map((words, at) =>
    el("th", { scope: "col", class: at ? "end" : null }, words || el("span", { class: "aside" }, "What")))));

const address = (url) =>
  el("div", { class: "copyable" }, /^https?:/.test(url) ? el("a", { href: url, target: "_blank", rel: "noreferrer" }, url) : el("code", {}, url), copyButton(url, "the address"));

const tunnelCard = (tunnel, at) =>
  card(tunnel.name, badge(tunnel.state, TONES[tunnel.state]),
    facts([
      ["Address", tunnel.urls.length ? el("div", {}, tunnel.urls.map(address)) : el("span", { class: "soft" }, "none yet")],
      ["Local service", el("code", {}, tunnel.upstream)],
      ["Problem", tunnel.problem ? el("span", { class: "bad-text" }, `the local service does not answer: ${tunnel.problem}`) : null],
      ["Who is let in", el("bdi", {}, tunnel.let_in)],
      ["Requests", tunnel.is_tcp ? null : tunnel.is_inspected ? el("a", { href: `/inspect/http#${new URLSearchParams({ tunnel: tunnel.name })}` }, "kept and shown") : "not kept"],
      ["Description", tunnel.description ? el("bdi", {}, tunnel.description) : null],
      ["Metadata", tunnel.metadata ? el("bdi", {}, tunnel.metadata) : null],
      ["Since", ago(tunnel.started_at, at)],
    ]),
    el("div", { class: "table-wrap figures-table" }, el("table", { class: "folds" }, head(), el("tbody", {},
      figures("Connections", tunnel.connections), tunnel.is_tcp ? null : figures("Requests", tunnel.requests)))));

watchSession((now) => {
  $("state").replaceChildren(stateBadge(now.state));
  facts([
    ["Relay", el("code", {}, now.relay)],
    ["Account", now.owner],
    ["Latency", now.latency === null ? null : tookSeconds(now.latency)],
    ["Why not", now.reason],
    ["Version", now.version],
  ], $("session"));
  drawCharts(now.charts, $("charts"));
  if (!document.getSelection().toString() && !$("tunnels").contains(document.activeElement)) { // else what is marked or focused would be lost
    $("tunnels").replaceChildren(...(now.tunnels.length
      ? now.tunnels.map((tunnel) => tunnelCard(tunnel, now.at))
      : [el("section", { class: "card" }, el("div", { class: "empty" }, el("h2", {}, "No tunnels"), el("p", {}, "This agent waits for a program to add one at /api/tunnels.")))]));
  }
  facts(now.options, $("options"));
});

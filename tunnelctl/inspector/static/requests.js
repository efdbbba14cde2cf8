/* The page of the requests: the list, its filter, the pane beside it, and the keys. */

import * as api from "./api.js";
import { Detail } from "./detail.js";
import { $, command, el, icon, toast } from "./dom.js";
import { drawCharts } from "./draw.js";
import { headerOf, isOpen } from "./exchange.js";
import { FIELDS, readFilter } from "./filter.js";
import { List, MAX_KEPT } from "./list.js";
import { openReplayDialog } from "./replay.js";
import { watchSession } from "./session.js";
import { count } from "./words.js";

const REST_SECONDS = 1; // without a lost event, before everything is asked for again: a flood would never end

const OVERLAID = matchMedia("(max-width: 74.99rem)"); // the pane lies above the list; as in inspector.css

const form = $("filters");
let tunnels = [];
let isFiltered = false;
let hasHeaders = false;

const page = {
  open: (id) => act(openExchange(id)),
  close: () => closeDetail(),
  replay: () => act(replay()),
  replayWithChanges: () => openReplayDialog(detail.exchange, replay),
  urlOf: (exchange) => {
    const tunnel = tunnels.find(({ name }) => name === exchange.tunnel_name);
    return (tunnel && tunnel.urls[0]) || `http://${headerOf(exchange.request, "host") || "localhost"}`;
  },
  tellCopied: (notes) => toast(notes.length ? `Copied. ${notes.join("; ")}.` : "Copied."),
};
const detail = new Detail($("detail"), page);
const list = new List($("rows"), page.open, tellCount);

/* Do something, and say so when it fails. */
async function act(doing) {
  try {
    await doing;
  } catch (error) {
    toast(error.message, "warning");
  }
}

/* What is looked at is kept behind the address's `#`, so that it can be reloaded and passed on. */

const fieldsNow = () => Object.fromEntries(FIELDS.map((name) => [name, form.elements[name].value]));

const saveAddress = () => {
  const said = new URLSearchParams(Object.entries(fieldsNow()).filter(([, text]) => text.trim()));
  if (list.selected) said.set("id", list.selected);
  history.replaceState(null, "", said.size ? `#${said}` : location.pathname);
};

const readAddress = () => {
  const said = new URLSearchParams(location.hash.slice(1));
  for (const name of FIELDS) {
    const field = form.elements[name];
    const text = said.get(name) || "";
    if (text && field.localName === "select" && ![...field.options].some(({ value }) => value === text)) field.add(new Option(text));
    field.value = text;
  }
  $("more-filters").open ||= ["duration", "size", "header"].some((name) => said.get(name));
  return said.get("id") || "";
};

/* The filter */

const applyFilter = () => {
  const { fits, problems, isEmpty } = readFilter(fieldsNow());
  for (const name of FIELDS) {
    const field = form.elements[name];
    if (name in problems) field.setAttribute("aria-invalid", "true");
    else field.removeAttribute("aria-invalid");
    field.closest(".input").classList.toggle("bad", name in problems);
  }
  const [problem] = Object.entries(problems);
  $("filter-problem").hidden = !problem;
  $("filter-problem").textContent = problem ? `${form.elements[problem[0]].labels[0].textContent}: ${problem[1]}.` : "";
  isFiltered = !isEmpty;
  $("unfilter").hidden = isEmpty;
  list.filter(fits);
  saveAddress();
  if (hasHeaders !== Boolean(fieldsNow().header.trim())) {
    hasHeaders = !hasHeaders;
    follow();
  }
};

/* The list */

function tellCount() {
  const shown = list.rows.size;
  const waiting = list.isPaused && list.waiting.size;
  $("count").textContent = isFiltered ? `${count(shown, "request")} of ${list.kept.size.toLocaleString("en")} fit` : count(list.kept.size, "request");
  $("pause").querySelector("span").textContent = list.isPaused ? (waiting ? `Resume (${waiting} new)` : "Resume") : "Pause";
  $("table").hidden = !shown;
  $("empty").hidden = shown > 0;
  if (!shown) tellEmpty();
  const open = detail.exchange && list.kept.get(detail.exchange.id);
  if (open && isOpen(detail.exchange) && !isOpen(open)) act(detail.open(open.id));
}

/* What to do when there is nothing to see. Made anew only when it says something else, so that it can be copied from. */
const tellEmpty = () => {
  const web = tunnels.filter((tunnel) => !tunnel.is_tcp);
  const kept = web.filter((tunnel) => tunnel.is_inspected);
  const urls = isFiltered ? [] : kept.flatMap((tunnel) => tunnel.urls);
  const isOff = web.length > 0 && !kept.length;
  const said = JSON.stringify([isFiltered, isOff, urls]);
  if ($("empty").dataset.said === said) return;
  $("empty").dataset.said = said;
  const [title, words] = isFiltered
    ? ["Nothing fits", "None of the requests that are kept fits every field of the filter."]
    : isOff
      ? ["Requests are not kept", "The tunnels were started with --inspect=false, or inspect_db_size is -1 in the configuration file."]
      : ["No requests yet", urls.length ? "They show up here as they come. Open one of these addresses, or run:" : "They show up here as they come, once a tunnel is online."];
  $("empty").replaceChildren(
    el("div", { class: "empty" }, el("span", { class: "empty-icon" }, icon("traffic")), el("h2", {}, title), el("p", {}, words),
      urls.length ? el("ul", { class: "addresses" }, urls.slice(0, 10).map((url) => el("li", {}, el("a", { href: url, target: "_blank", rel: "noreferrer" }, url)))) : null),
    ...(urls.length ? [el("div", { class: "first-command" }, command(`curl ${urls[0]}`))] : []));
};

let reloading = Promise.resolve();
let isStale = false; // the list is paused, and something was missed
const reload = () => {
  isStale = list.isPaused;
  if (isStale) return reloading;
  reloading = reloading.catch(() => {}).then(async () => { // one at a time
    list.fetching();
    list.replaceAll(await api.newest(MAX_KEPT, hasHeaders));
  });
  return reloading;
};

/* Events are lost while more come than a page can be told. */
let waitsForRest;
const reloadLater = () => {
  clearTimeout(waitsForRest);
  waitsForRest = setTimeout(() => act(reload()), REST_SECONDS * 1000);
};

/* Follow what comes, from everything that is there. Opened anew when the filter begins or ceases to ask for headers. */
let stream;
const follow = () => {
  if (stream) stream.close();
  stream = new Stream(api.eventsAt(hasHeaders));
  stream.onopen = () => act(reload());
  stream.addEventListener("exchange", (event) => list.add(event.lastEventId, event.data));
  stream.addEventListener("gap", reloadLater);
  stream.addEventListener("cleared", () => list.clear());
};

/* The pane */

async function openExchange(id) {
  list.select(id);
  await detail.open(id);
  $("inspect").toggleAttribute("data-open", true);
  document.body.classList.add("has-detail");
  if (OVERLAID.matches) detail.pane.querySelector(".icon-button").focus();
  saveAddress();
}

function closeDetail() {
  const { selected } = list;
  detail.close();
  $("inspect").removeAttribute("data-open");
  document.body.classList.remove("has-detail");
  list.select("");
  const row = list.rows.get(selected);
  if (row) row.querySelector("button").focus();
  saveAddress();
}

async function replay(changes = {}) {
  const id = await api.replay(detail.exchange.id, changes);
  toast("Sent again.");
  await openExchange(id);
}

/* Keys */

const move = (step) => {
  const { ids } = list;
  if (!ids.length) return;
  const at = ids.indexOf(list.selected);
  const id = ids[at < 0 ? 0 : Math.min(ids.length - 1, Math.max(0, at + step))];
  if (detail.exchange) page.open(id);
  else list.select(id);
  list.rows.get(id).querySelector("button").focus();
};

const KEYS = {
  j: () => move(1),
  k: () => move(-1),
  Enter: () => list.selected && page.open(list.selected),
  r: () => detail.exchange && page.replay(),
  "/": () => $("f-path").focus(),
  Escape: () => detail.exchange && closeDetail(),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("[popover]:popover-open")) return;
  const isTyping = event.target.closest("input, textarea, select");
  if (isTyping && event.key === "Escape") event.target.blur();
  const isActed = event.key === "Enter" && event.target.closest("button, a, summary");
  if (isTyping || isActed || !Object.hasOwn(KEYS, event.key)) return;
  event.preventDefault();
  KEYS[event.key]();
});

/* Everything is tied together here. */

$("pause").addEventListener("click", () => {
  list.pause(!list.isPaused);
  if (isStale) act(reload());
  $("pause").setAttribute("aria-pressed", String(list.isPaused));
  tellCount();
});
$("clear-now").addEventListener("click", () => {
  $("clear-dialog").hidePopover();
  act(api.clear().then(() => { closeDetail(); list.clear(); }));
});
form.addEventListener("input", applyFilter);
form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("reset", () => setTimeout(applyFilter));
window.addEventListener("hashchange", () => { readAddress(); applyFilter(); });

watchSession((now) => {
  tunnels = now.tunnels;
  drawCharts(now.charts, $("charts"));
  const known = [...form.elements.tunnel.options].map(({ value }) => value);
  for (const { name } of tunnels) if (!known.includes(name)) form.elements.tunnel.add(new Option(name));
  if (!list.rows.size) tellEmpty();
});

const first = readAddress();
applyFilter();
follow();
if (first) page.open(first);

/* The dialog in which a request is changed before it is sent again. Sends only what was changed. */

import { $, el } from "./dom.js";
import { readBody } from "./body.js";
import { MASK, headerLines } from "./exchange.js";

/* Names with the lines of each, in the order of the first. Names are told apart without their case. */
const byName = (lines) => {
  const found = new Map();
  for (const [name, value] of lines) {
    const key = name.toLowerCase();
    if (!found.has(key)) found.set(key, { name, values: [] });
    found.get(key).values.push(value);
  }
  return found;
};

/* `Name: value` lines. Throws an Error about the first that is none. */
export const readLines = (text) =>
  text.split("\n").filter((line) => line.trim()).map((line) => {
    const colon = line.indexOf(":");
    if (colon < 1) throw new Error(`Write each header as Name: value, not ${line}`);
    return [line.slice(0, colon).trim(), line.slice(colon + 1).trim()];
  });

/* The changes between the headers as they were shown and as they are now. What is the same keeps its masked values. */
export const headerChanges = (before, after) => {
  const old = byName(before);
  const fresh = byName(after);
  const changed = [...fresh].filter(([key, { values }]) => !old.has(key) || old.get(key).values.join("\n") !== values.join("\n"));
  return {
    set_headers: Object.fromEntries(changed.map(([, { name, values }]) => [name, values.join(", ")])),
    remove_headers: [...old].filter(([key]) => !fresh.has(key)).map(([, { name }]) => name),
  };
};

/* Written anew for each connection, so they cannot be changed. */
const OF_CONNECTION = /^(content-length|transfer-encoding|connection|keep-alive|upgrade|te|trailer|proxy-connection)$/i;

const changeable = (request) => headerLines(request).filter(([name]) => !OF_CONNECTION.test(name));

const base64 = (text) => btoa(Array.from(new TextEncoder().encode(text), (byte) => String.fromCharCode(byte)).join(""));

/* What `fields` ask for that `request` does not have already. */
export const changesOf = (request, text, fields) => {
  const changes = headerChanges(changeable(request), readLines(fields.headers));
  if (!Object.keys(changes.set_headers).length) delete changes.set_headers;
  if (!changes.remove_headers.length) delete changes.remove_headers;
  if (fields.method !== request.method) changes.method = fields.method;
  if (fields.path !== request.uri) changes.uri = fields.path;
  if (fields.body !== null && fields.body !== text) {
    changes.body = base64(fields.body);
    if (request.body && request.body.encoding) changes.remove_headers = [...(changes.remove_headers || []), "Content-Encoding"];
  }
  return changes;
};

const field = (id, label, control, hint = null) =>
  el("div", { class: "field" }, el("label", { for: id }, label), el("div", { class: "input mono" }, control),
    hint ? el("p", { class: "field-hint" }, hint) : null);

/* Opens the dialog. `send` is called with the changes, and may throw an Error whose message is shown. */
export const openReplayDialog = (exchange, send) => {
  const { request } = exchange;
  const body = readBody(request);
  const canEdit = body.isShown && body.text !== null;
  const text = canEdit ? body.text : "";
  const lines = changeable(request).map(([name, value]) => `${name}: ${value}`).join("\n");
  const control = (id, name, attributes = {}) => el(name, { id, spellcheck: "false", autocapitalize: "none", autocomplete: "off", ...attributes });
  const method = control("r-method", "input");
  const path = control("r-path", "input");
  const headers = control("r-headers", "textarea", { rows: "8", wrap: "off" });
  const content = control("r-body", "textarea", { rows: "6", disabled: !canEdit });
  const problem = el("p", { class: "field-error", role: "alert", hidden: true });
  method.value = request.method;
  path.value = request.uri;
  headers.value = lines;
  content.value = text;
  const shown = text.replace(/\r\n?/g, "\n"); // as a text area gives it back

  const submit = async (event) => {
    event.preventDefault();
    const typed = content.value === shown ? text : content.value;
    try {
      await send(changesOf(request, text, { method: method.value.trim(), path: path.value.trim(), headers: headers.value, body: canEdit ? typed : null }));
      $("replay-dialog").hidePopover();
    } catch (error) {
      problem.textContent = error.message;
      problem.hidden = false;
    }
  };
  const about = !canEdit
    ? "This body is not text; it is sent as it was."
    : body.isCut ? "Only a part of this body was kept: the request can be sent only with another one."
    : body.encoding ? "It came compressed; a body that you change is sent as it stands here." : null;
  $("replay-dialog").replaceChildren(el("form", { onsubmit: submit },
    el("h2", { id: "replay-title" }, "Replay with changes"),
    el("p", {}, `It goes straight to the local service, not through the relay. ${MASK} that you leave as it is stands for the value as it came.`),
    el("div", { class: "method-path" }, field("r-method", "Method", method), field("r-path", "Path", path)),
    field("r-headers", "Headers", headers, "One a line. Leave a line out to send the request without it."),
    field("r-body", "Body", content, about),
    problem,
    el("div", { class: "dialog-actions" },
      el("button", { type: "button", class: "button quiet", onclick: () => $("replay-dialog").hidePopover() }, "Cancel"),
      el("button", { class: "button primary", id: "replay-now" }, "Send"))));
  $("replay-dialog").showPopover();
  path.focus();
};

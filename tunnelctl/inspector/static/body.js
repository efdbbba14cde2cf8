/* Shows a body by its type: JSON and XML indented and checked, forms split, text, and every other as bytes. */

import { splitRaw, typeOf } from "./exchange.js";
import { copyButton, el } from "./dom.js";
import { readJson } from "./json.js";
import { size } from "./words.js";
import { readXml } from "./xml.js";

const MAX_SPANS = 8000; // more pieces than that are shown without colours
const HEX_BYTES = 16 * 1024;
const TEXT = /^text\/|^application\/(javascript|ecmascript|graphql|sql|x-ndjson|jsonl|yaml|x-yaml|toml)$/;

const charsetOf = (message) => /charset=["']?([\w-]+)/i.exec((message.body && message.body.type) || "");

/* The text of these bytes; null when they are none. */
const decoded = (bytes, message) => {
  const named = charsetOf(message);
  try {
    const text = new TextDecoder(named ? named[1] : "utf-8", { fatal: true }).decode(bytes, { stream: true });
    return text.includes("\0") ? null : text;
  } catch {
    return null;
  }
};

/* What is known of a message's body. */
export const readBody = (message) => {
  const { body: bytes } = splitRaw(message);
  const { size: whole = bytes.length, kept, is_cut: isCut = false, is_shown: isShown = true, encoding = "" } = message.body || {};
  return { bytes, text: decoded(bytes, message), type: typeOf(message), size: whole, kept, isCut, isShown, encoding };
};

const plain = (text) => el("pre", { class: "body", tabindex: "0", "aria-label": "Body" }, el("code", {}, text));

const coloured = (pieces) => {
  if (pieces.length > MAX_SPANS) return plain(pieces.map(([, text]) => text).join(""));
  const parts = pieces.map(([kind, text]) => (kind ? el("span", { class: `t-${kind}` }, text) : text));
  return el("pre", { class: "body", tabindex: "0", "aria-label": "Body" }, el("code", {}, parts));
};

/* The text with its first error marked, and in words where it is. */
const withError = (text, { at, message }, what) => {
  const before = text.slice(0, at);
  const row = before.split("\n").length;
  const column = at - before.lastIndexOf("\n");
  const marked = text[at] ?? " ";
  return [
    el("p", { class: "field-error" }, `Not valid ${what}: ${message}, at line ${row}, column ${column}.`),
    el("pre", { class: "body", tabindex: "0", "aria-label": "Body" },
      el("code", {}, before, el("mark", { class: "error-at" }, marked), text.slice(at + 1))),
  ];
};

const checked = (read, what) => (body) => {
  const { pieces, error } = read(body.text);
  if (!error || (error.isEnd && body.isCut)) return [coloured(pieces)];
  return withError(body.text, error, what);
};

/* Names and values, one a row. */
export const pairsTable = (pairs, label) =>
  el("table", { class: "pairs", "aria-label": label }, el("tbody", {},
    pairs.map(([name, value]) => el("tr", {}, el("th", { scope: "row" }, el("bdi", {}, name)), el("td", {}, el("bdi", {}, value))))));

export const formPairs = (text) => [...new URLSearchParams(text)];

/* [name, what it holds] of each part of a multipart form. */
export const multipartPairs = (bytes, contentType) => {
  const boundary = /boundary="?([^";]+)"?/i.exec(contentType);
  if (!boundary) return [];
  const text = Array.from(bytes, (byte) => String.fromCharCode(byte)).join("");
  return text.split(`--${boundary[1]}`).slice(1).filter((part) => part.includes("\r\n\r\n")).map((part) => {
    const end = part.indexOf("\r\n\r\n");
    const head = part.slice(0, end);
    const content = part.slice(end + 4).replace(/\r\n$/, "");
    const name = (/[; ]name="([^"]*)"/i.exec(head) || ["", "(no name)"])[1];
    const file = /filename="([^"]*)"/i.exec(head);
    const value = new TextDecoder().decode(Uint8Array.from(content, (character) => character.charCodeAt(0)));
    return [name, file ? `file ${file[1]}, ${size(content.length)}` : value];
  });
};

/* The first HEX_BYTES as an editor for binary files has them. */
export const hexDump = (bytes) => {
  const lines = [];
  for (let at = 0; at < Math.min(bytes.length, HEX_BYTES); at += 16) {
    const row = Array.from(bytes.subarray(at, at + 16));
    const hex = row.map((byte) => byte.toString(16).padStart(2, "0")).join(" ").padEnd(47);
    const text = row.map((byte) => (byte >= 32 && byte < 127 ? String.fromCharCode(byte) : ".")).join("");
    lines.push(`${at.toString(16).padStart(6, "0")}  ${hex}  ${text}`);
  }
  return lines.join("\n");
};

const asBytes = (body) => {
  const rest = body.bytes.length - HEX_BYTES;
  return [
    el("pre", { class: "body hex", tabindex: "0", "aria-label": "Body" }, el("code", {}, hexDump(body.bytes))),
    rest > 0 ? el("p", { class: "soft small-text" }, `${size(rest)} more are not shown.`) : null,
  ];
};

const shownBy = (body, message) => {
  if (body.type === "multipart/form-data") return [pairsTable(multipartPairs(body.bytes, (message.body && message.body.type) || ""), "Form")];
  if (body.text === null) return asBytes(body);
  if (/[/+]json$/.test(body.type)) return checked(readJson, "JSON")(body);
  if (/[/+]xml$/.test(body.type)) return checked(readXml, "XML")(body);
  if (body.type === "application/x-www-form-urlencoded") return [pairsTable(formPairs(body.text), "Form")];
  if (TEXT.test(body.type) || !/^(image|audio|video|font)\//.test(body.type)) return [plain(body.text)];
  return asBytes(body);
};

const about = (body) => {
  const kept = body.isCut ? `, of which the first ${size(body.kept)} were kept` : "";
  const encoding = body.encoding ? `, came compressed with ${body.encoding}` : "";
  return `${body.type || "no content type"}, ${size(body.size)}${kept}${encoding}`;
};

/* The body of a message with a line about it. */
export const showBody = (message) => {
  const body = readBody(message);
  if (!body.size) return [el("p", { class: "soft" }, "No body.")];
  const head = el("div", { class: "spread body-head" }, el("span", { class: "soft small-text" }, about(body)),
    body.text ? copyButton(body.text, "the body") : null);
  if (!body.isShown) return [head, el("p", { class: "soft" }, "It cannot be decompressed here, so it is not shown: it could hold secrets.")];
  return [head, ...shownBy(body, message)];
};

/* Writes a request as a command for curl that a shell takes as it is, whatever a visitor has put into the request. */

import { readBody } from "./body.js";
import { MASK, headerLines } from "./exchange.js";

/* What curl sets itself, and what the relay adds for the local service. */
const LEFT_OUT = /^(host|content-length|connection|transfer-encoding|accept-encoding|x-forwarded-.*|x-real-ip|x-request-id|x-tunnel-.*|forwarded|via)$/i;

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

/* Bytes of a terminal's control sequences must not reach one by being pasted. */
const isPlain = (text) => !/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/.test(text);

/* The public address with this target behind it. Not resolved against it: `//other.example/` would lead elsewhere. */
const addressOf = (uri, publicUrl) => {
  const target = uri.replace(/[^!-~]/g, (character) => encodeURIComponent(character));
  return new URL(publicUrl).origin + (target.startsWith("/") ? target : `/${target}`);
};

/* Returns the command, and `notes`: what a person has to know before it runs. */
export const curlOf = (exchange, publicUrl) => {
  const { request } = exchange;
  const notes = [];
  const url = addressOf(request.uri, publicUrl);
  const parts = ["curl --globoff --path-as-is", quoted(url)];
  if (request.method !== "GET") parts.push(request.method === "HEAD" ? "--head" : `--request ${quoted(request.method)}`);
  const body = readBody(request);
  const isWhole = !body.size || (body.isShown && !body.isCut && body.text !== null && isPlain(body.text));
  const lines = headerLines(request).filter(([name, value]) =>
    !LEFT_OUT.test(name) && isPlain(name + value) && !(body.encoding && isWhole && /^content-encoding$/i.test(name)));
  for (const [name, value] of lines) parts.push(`--header ${quoted(value ? `${name}: ${value}` : `${name};`)}`);
  if (headerLines(request).some(([name]) => /^accept-encoding$/i.test(name))) parts.push("--compressed");
  if (!isWhole) {
    parts.push("--data-binary @body");
    notes.push("its body is not text, or was not kept whole: put it into a file named body");
  } else if (body.text) {
    parts.push(`--data-raw ${quoted(body.text)}`); // unlike --data, it reads no file when the body begins with @
  }
  const masked = [...new Set(lines.filter(([, value]) => value.includes(MASK)).map(([name]) => name))];
  if (url.includes(MASK)) masked.push("the address");
  if (isWhole && body.text.includes(MASK)) masked.push("the body");
  if (body.encoding && isWhole) notes.push("its body came compressed, and goes out as it is shown");
  if (masked.length) notes.unshift(`${MASK} stands for a secret in ${masked.join(", ")}: put yours in`);
  return { command: parts.join(" \\\n  "), notes };
};

/* Reads what the API has of one exchange (docs/reference/local-api.md). */

export const MASK = "***";

/* The status code; 0 while there is no response. */
export const statusOf = (exchange) => (exchange.response ? exchange.response.status_code : 0);

/* Whether the exchange goes on. */
export const isOpen = (exchange) => !exchange.is_over;

export const pathOf = (exchange) => exchange.request.uri.split("?", 1)[0];

export const queryOf = (exchange) => exchange.request.uri.split("?").slice(1).join("?").split("#", 1)[0];

/* All bytes of a body, also of those that were not kept. */
export const sizeOf = (message) => (message && message.body ? message.body.size : 0);

/* The media type, lower-case and without parameters. */
export const typeOf = (message) => ((message.body && message.body.type) || headerOf(message, "content-type")).split(";", 1)[0].trim().toLowerCase();

/* The first value of a header; "" without it. */
export const headerOf = (message, name) => (headerLines(message).find(([key]) => key.toLowerCase() === name) || ["", ""])[1];

/* [name, value] of every header line. */
export const headerLines = (message) => Object.entries(message.headers || {}).flatMap(([name, values]) => values.map((value) => [name, value]));

/* Who asked, as far as is known. */
export const whoOf = (exchange) => {
  const visitor = exchange.visitor || {};
  return visitor.name || visitor.email || visitor.subject || visitor.address || exchange.remote_addr || "";
};

/* Head and body of a message, out of its `raw`. */
export const splitRaw = (message) => {
  const text = atob(message.raw || "");
  const end = text.indexOf("\r\n\r\n");
  const head = end < 0 ? text : text.slice(0, end);
  const body = end < 0 ? "" : text.slice(end + 4);
  return { head, body: Uint8Array.from(body, (character) => character.charCodeAt(0)) };
};

/* Indents XML and checks that its tags match. Documents are never handed to the browser's own reader. */

const TOKEN = /<!--[\s\S]*?-->|<!\[CDATA\[[\s\S]*?\]\]>|<\?[\s\S]*?\?>|<![A-Z](?:[^[>]|\[[^\]]*\])*>|<(\/?)([A-Za-z_:][\w.:-]*)((?:\s+[\w.:-]+\s*=\s*(?:"[^"<]*"|'[^'<]*'))*)\s*(\/?)>|[^<]+/y;
const INDENT = "  ";
const MAX_DEPTH = 40; // deeper lines are not indented further: a body of brackets would become gigabytes

/* Returns `pieces`, [kind, text] of the indented text, and `error`, {at, message} of the first thing that is no XML. */
export const readXml = (text) => {
  const pieces = [];
  const open = [];
  let at = 0;
  let isInline = false; // text stands behind the last tag, so its end follows on the same line
  const line = () => { if (pieces.length) pieces.push(["", `\n${INDENT.repeat(Math.min(open.length, MAX_DEPTH))}`]); };
  const failed = (message, isEnd = false) => ({ pieces, error: { at, message, isEnd } });

  while (at < text.length) {
    TOKEN.lastIndex = at;
    const found = TOKEN.exec(text);
    if (!found) return failed("this is no tag", text.indexOf(">", at) < 0);
    const [token, slash, name, , empty] = found;
    if (name && slash) {
      if (open.at(-1) !== name) return failed(open.length ? `</${open.at(-1)}> is expected here` : `</${name}> has no beginning`);
      open.pop();
      if (!isInline) line();
      pieces.push(["name", token]);
      isInline = false;
    } else if (name) {
      line();
      pieces.push(["name", token]);
      if (!empty) open.push(name);
      isInline = false;
      if (!empty && text.startsWith(`</${name}`, TOKEN.lastIndex)) isInline = true;
    } else if (token[0] !== "<" || token.startsWith("<![CDATA[")) {
      if (token.trim()) {
        if (!open.length) return failed("text outside of the document's element");
        pieces.push(["string", token.trim()]);
        isInline = true;
      }
    } else {
      line();
      pieces.push(["", token]);
      isInline = false;
    }
    at += token.length;
  }
  return open.length ? failed(`</${open.at(-1)}> is missing at the end`, true) : { pieces, error: null };
};

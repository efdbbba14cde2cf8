/* Reads JSON (RFC 8259) and indents it. Numbers and strings stay as they were sent: JSON.parse would round large ones. */

const SPACE = /[ \t\n\r]*/y;
const TOKEN = /[{}[\],:]|"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null/y;
const INDENT = "  ";
const MAX_DEPTH = 40; // deeper lines are not indented further: a body of brackets would become gigabytes
const WANTED = {
  value: "a value",
  "first value": "a value or ]",
  name: "a name in double quotes",
  "first name": "a name in double quotes or }",
  colon: "a colon",
  "more of {": "a comma or }",
  "more of [": "a comma or ]",
  nothing: "nothing more",
};

const match = (pattern, text, at) => {
  pattern.lastIndex = at;
  const found = pattern.exec(text);
  return found ? found[0] : "";
};

const kindOf = (token, state) => {
  if (token[0] === '"') return state.endsWith("name") ? "name" : "string";
  if (/^[-\d]/.test(token)) return "number";
  return /^[tfn]/.test(token) ? "word" : "";
};

/* Returns `pieces`, [kind, text] of the indented text, and `error`, {at, message} of the first thing that is no JSON. */
export const readJson = (text) => {
  const pieces = [];
  const open = [];
  let state = "value";
  let at = 0;
  const write = (kind, words) => pieces.push([kind, words]);
  const line = () => write("", `\n${INDENT.repeat(Math.min(open.length, MAX_DEPTH))}`);
  const after = () => { state = open.length ? `more of ${open.at(-1)}` : "nothing"; };

  for (;;) {
    at += match(SPACE, text, at).length;
    const token = match(TOKEN, text, at);
    if (!token) {
      const isWhole = state === "nothing" && at === text.length;
      return { pieces, error: isWhole ? null : { at, message: `${WANTED[state]} is expected here`, isEnd: at === text.length } };
    }
    const isFirst = state.startsWith("first");
    const wants = state.replace("first ", "");
    if (wants === "value" && (token === "{" || token === "[")) {
      if (isFirst) line();
      write("", token);
      open.push(token);
      state = token === "{" ? "first name" : "first value";
    } else if ((token === "}" || token === "]") && open.at(-1) === { "}": "{", "]": "[" }[token] && (isFirst || state.startsWith("more"))) {
      open.pop();
      if (!isFirst) line();
      write("", token);
      after();
    } else if (wants === "name" && token[0] === '"') {
      if (isFirst) line();
      write("name", token);
      state = "colon";
    } else if (state === "colon" && token === ":") {
      write("", ": ");
      state = "value";
    } else if (state.startsWith("more") && token === ",") {
      write("", ",");
      line();
      state = open.at(-1) === "{" ? "name" : "value";
    } else if (wants === "value" && kindOf(token, state)) {
      if (isFirst) line();
      write(kindOf(token, state), token);
      after();
    } else {
      return { pieces, error: { at, message: `${WANTED[state]} is expected here`, isEnd: false } };
    }
    at += token.length;
  }
};

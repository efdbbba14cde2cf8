/* Makes elements. Strings become text nodes, never markup: what visitors sent goes through here. */

export const $ = (id) => document.getElementById(id);

/* An element with attributes, listeners (functions, by `onclick` and the like) and children. null children are left out. */
export const el = (name, attributes = {}, ...children) => {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(key.slice(2), value);
    else if (value === true) element.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(key, value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
};

const SVG = "http://www.w3.org/2000/svg";

/* An SVG element. */
export const svg = (name, attributes = {}, ...children) => {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
};

export const icon = (name) =>
  svg("svg", { class: "icon", "aria-hidden": "true" }, svg("use", { href: `/static/icons.svg#${name}` }));

/* Names and values beside each other. Pairs whose value is null or "" are left out. */
export const facts = (pairs, into = el("dl", { class: "facts" })) => {
  const shown = pairs.filter(([, value]) => value !== null && value !== undefined && value !== "");
  into.replaceChildren(...shown.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
  return into;
};

export const badge = (text, tone) => el("span", { class: `badge ${tone}` }, el("span", { class: "dot", "aria-hidden": "true" }), text);

export const card = (title, aside, ...children) =>
  el("section", { class: "card", "aria-label": title },
    el("div", { class: "card-head" }, el("div", {}, el("h2", {}, title)), aside),
    el("div", { class: "card-body" }, ...children));

/* A button that copies a text; its label stands for people who cannot see the drawing. */
export const copyButton = (text, what) =>
  el("button", { type: "button", class: "icon-button copy", "data-copy": text, title: `Copy ${what}` },
    icon("copy"), icon("check"), el("span", { class: "aside" }, `Copy ${what}`));

/* A command line to copy. */
export const command = (text, what = "the command") =>
  el("div", { class: "command" }, el("span", { class: "prompt", "aria-hidden": "true" }, "$"),
    el("pre", { tabindex: "0", "aria-label": what }, el("code", {}, text)), copyButton(text, what));

/* A line at the screen's edge that goes away by itself. */
export const toast = (text, name = "check") => {
  const line = el("p", { class: "toast" }, icon(name), text);
  $("toasts").replaceChildren(line);
  setTimeout(() => line.remove(), 6000);
};

/* Draws the charts that the agent has worked out (`look/charts.py`), as the dashboard does. */

import { el, svg } from "./dom.js";

const lines = (chart) => chart.lines.flatMap(({ kind, path, area }) => [
  ...(area ? [svg("path", { class: `area ${kind}`, d: area })] : []),
  svg("path", { class: `line ${kind}`, d: path }),
]);

const figure = (chart) => {
  const { width } = chart;
  const grid = svg("path", { class: "grid", d: `M0 0H${width}M0 50H${width}M0 100H${width}` });
  const key = chart.lines.length > 1 ? el("span", { class: "chart-key" }, chart.lines.map(({ kind, label }) => el("span", { class: kind }, label))) : null;
  return el("figure", { class: "chart", role: "img", "aria-label": chart.words, "data-values": chart.values, "data-unit": chart.unit, "data-began": chart.began_at, "data-step": chart.step },
    el("div", { class: "chart-head" }, el("span", { class: "chart-title" }, chart.title),
      el("span", { class: "chart-now" }, chart.now, el("span", {}, chart.unit)), el("span", { class: "soft small-text" }, chart.aside)),
    el("div", { class: "chart-plot" }, el("span", { class: "chart-top" }, chart.top),
      svg("svg", { viewBox: `0 0 ${width} 100`, preserveAspectRatio: "none", "aria-hidden": "true" }, grid, ...lines(chart))),
    el("div", { class: "chart-foot" }, el("span", {}, "10 min ago"), key, el("span", {}, "now")));
};

export const drawCharts = (charts, into) => into.replaceChildren(...charts.map(figure));

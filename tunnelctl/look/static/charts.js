/* Pointing at a chart tells that moment's figures. Defines `clock` for the scripts behind this one. */
"use strict";
const clock = (at) => [at.getHours(), at.getMinutes(), at.getSeconds()].map((n) => String(n).padStart(2, "0")).join(":");
(() => {
  const worded = (value, unit) => {
    if (value === null) return "–";
    if (unit === "/s") return `${value < 10 ? value.toFixed(1) : Math.round(value)} /s`;
    if (unit === "%") return `${(value * 100).toFixed(1)} %`;
    return value < 1 ? `${(value * 1000).toFixed(value < 0.01 ? 1 : 0)} ms` : `${value.toFixed(1)} s`;
  };
  const part = (plot, name) => {
    const found = plot.querySelector(`.${name}`);
    if (found) return found;
    const made = Object.assign(document.createElement("span"), { className: name });
    plot.append(made);
    return made;
  };
  const pointAt = (event) => {
    const plot = event.target.closest(".chart-plot");
    if (!plot) return;
    const chart = plot.closest(".chart");
    const box = plot.querySelector("svg").getBoundingClientRect();
    const lines = Object.entries(JSON.parse(chart.dataset.values));
    const last = lines[0][1].length - 1;
    const index = Math.min(last, Math.max(0, Math.round(((event.clientX - box.left) / box.width) * last)));
    const at = clock(new Date((Number(chart.dataset.began) + index * Number(chart.dataset.step)) * 1000));
    const told = lines.map(([label, values]) => `${lines.length > 1 ? `${label} ` : ""}${worded(values[index], chart.dataset.unit)}`);
    part(plot, "chart-read").textContent = `${at} ${told.join(", ")}`;
    part(plot, "chart-mark").style.left = `${(index / last) * 100}%`;
  };
  const pointAway = (event) => {
    if (!event.target.matches || !event.target.matches(".chart-plot")) return;
    event.target.querySelectorAll(".chart-mark, .chart-read").forEach((found) => found.remove());
  };

  document.addEventListener("pointermove", pointAt);
  document.addEventListener("pointerleave", pointAway, true);
})();

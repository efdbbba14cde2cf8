/* Traffic: a list that can be paused, requests in a drawer, times as clocks show them here. */
"use strict";
(() => {
  const held = new Map();

  const swap = (target, text) => {
    target.innerHTML = text;
    htmx.process(target);
    tellClocks();
  };

  const pause = (button) => {
    const target = document.querySelector(button.dataset.pause);
    const isPaused = !target.hasAttribute("data-paused");
    button.querySelector("span").textContent = isPaused ? "Resume" : "Pause";
    target.toggleAttribute("data-paused", isPaused);
    if (!isPaused && held.has(target)) swap(target, held.get(target));
    held.delete(target);
  };

  /* What comes while a list is paused waits until it goes on. */
  const hold = (event) => {
    const target = event.target.closest("[data-paused]");
    if (!target) return;
    event.preventDefault();
    held.set(target, event.detail.data);
  };

  const clock = (at) => [at.getHours(), at.getMinutes(), at.getSeconds()].map((n) => String(n).padStart(2, "0")).join(":");

  const tellClocks = () => {
    for (const time of document.querySelectorAll("time[data-clock]")) {
      const text = clock(new Date(time.dateTime));
      if (time.textContent !== text) time.textContent = text;
    }
  };

  const openDrawer = (event) => {
    const target = event.detail.target;
    if (target && target.matches(".drawer[popover]") && !target.matches(":popover-open")) target.showPopover();
  };

  /* One listener for all rows, those that have come this very moment among them. */
  const openRow = (event, link) => {
    if (event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    htmx.ajax("GET", link.getAttribute("href"), { target: link.dataset.drawer, source: document.body });
  };

  /* Pointing at a chart tells that moment's figures. */
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
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-pause]");
    const link = event.target.closest("a[data-drawer]");
    if (button) pause(button);
    if (link) openRow(event, link);
  });
  document.addEventListener("change", (event) => {
    const form = event.target.closest("form.filters");
    if (form) form.requestSubmit();
  });
  document.addEventListener("htmx:sseBeforeMessage", hold);
  document.addEventListener("htmx:afterSwap", openDrawer);
  document.addEventListener("htmx:afterSettle", tellClocks);
  document.addEventListener("DOMContentLoaded", tellClocks);
})();

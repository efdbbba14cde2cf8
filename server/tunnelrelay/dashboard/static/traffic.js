/* Traffic: a list that can be paused, requests in a drawer, times as clocks show them here. `clock` is in charts.js. */
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

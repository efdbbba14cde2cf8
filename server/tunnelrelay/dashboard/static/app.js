/* What pages cannot do without a script, and do better with one. Everything works without it but copying and what is live. */
"use strict";
(() => {
  const root = document.documentElement;
  root.classList.add("scripted");

  /* Sign-in links carry their code behind `#`: out of the address bar, into the field. */
  const takeCode = () => {
    const field = document.querySelector("[data-from-fragment]");
    if (!field) return;
    const code = new URLSearchParams(location.hash.slice(1)).get(field.dataset.fromFragment);
    if (!code) return;
    history.replaceState(null, "", location.pathname + location.search);
    field.value = code;
    field.form.querySelector(".button").focus();
  };

  /* A dialog's button waits until what it asks for has been typed. */
  const checkTyped = (field) => {
    field.form.querySelector(".button:not([type])").disabled = field.value.trim() !== field.dataset.typed;
  };

  const lasting = (seconds) => {
    for (const [size, unit] of [[86400, "d"], [3600, "h"], [60, "min"]]) {
      if (seconds >= size) return `${Math.floor(seconds / size)} ${unit} ago`;
    }
    return seconds < 10 ? "just now" : `${Math.floor(seconds)} s ago`;
  };
  const tellTimes = () => {
    for (const time of document.querySelectorAll("time[data-ago]")) {
      const seconds = (Date.now() - Date.parse(time.dateTime)) / 1000;
      const text = lasting(Math.max(0, seconds));
      if (time.textContent !== text) time.textContent = text;
    }
  };

  const sayOver = () => {
    const main = document.getElementById("main");
    if (main.querySelector("[data-over]")) return;
    const notice = document.getElementById("live-over").content.firstElementChild.cloneNode(true);
    notice.dataset.over = "";
    main.prepend(notice);
  };

  if (window.htmx) {
    htmx.createEventSource = (url) => {
      const stream = new Stream(url);
      stream.addEventListener("over", () => { stream.close(); sayOver(); });
      return stream;
    };
    document.addEventListener("htmx:afterSettle", tellTimes);
  }

  const isTyping = (target) => target.closest("input, textarea, select, [contenteditable]");
  let before = "";
  const shortcuts = { o: "/", e: "/edges", t: "/traffic", d: "/domains", c: "/credentials", a: "/audit" };
  const onKey = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
    const search = document.querySelector("[data-search]");
    if (event.key === "/" && search) {
      event.preventDefault();
      search.focus();
    } else if (before === "g" && shortcuts[event.key]) {
      const link = document.querySelector(`nav a[href="${shortcuts[event.key]}"]`);
      if (link) link.click();
    }
    before = event.key;
  };

  document.addEventListener("input", (event) => {
    if (event.target.dataset.typed !== undefined) checkTyped(event.target);
  });
  document.addEventListener("toggle", (event) => {
    const field = event.newState === "open" && event.target.querySelector("[data-typed]");
    if (field) { checkTyped(field); field.focus(); }
  }, true);
  document.addEventListener("keydown", onKey);
  document.addEventListener("DOMContentLoaded", () => {
    takeCode();
    const toast = document.querySelector("[data-toast]");
    if (toast) {
      const address = new URL(location.href);
      address.searchParams.delete("flash");
      history.replaceState(null, "", address);
      setTimeout(() => toast.remove(), 6000);
    }
    for (const dialog of document.querySelectorAll("[popover][data-open]")) dialog.showPopover();
    setInterval(tellTimes, 10000);
  });
  window.addEventListener("hashchange", takeCode);
})();

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

  const copy = async (button) => {
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
    } catch {
      const field = document.createElement("textarea");
      field.value = button.dataset.copy;
      field.className = "aside";
      button.after(field);
      field.select();
      document.execCommand("copy");
      field.remove();
    }
    button.classList.add("done");
    button.querySelector(".aside").textContent = "Copied";
    setTimeout(() => button.classList.remove("done"), 1600);
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

  /* An event stream that rests while nobody looks: browsers open six connections to a host, over all tabs. */
  class Stream extends EventTarget {
    constructor(url) {
      super();
      this.url = url;
      this.names = new Set();
      this.watch = () => (document.hidden ? this.rest() : this.run());
      document.addEventListener("visibilitychange", this.watch);
      this.run();
    }
    get readyState() {
      return this.closed ? EventSource.CLOSED : this.source ? this.source.readyState : EventSource.CONNECTING;
    }
    run() {
      if (this.source || this.closed || document.hidden) return;
      this.source = new EventSource(this.url);
      this.source.onopen = (event) => this.onopen && this.onopen(event);
      this.source.onerror = (event) => this.failed(event);
      this.names.forEach((name) => this.hear(name));
    }
    rest() {
      if (this.source) this.source.close();
      this.source = null;
    }
    failed(event) {
      if (this.source.readyState !== EventSource.CLOSED) return; // the browser tries again by itself
      this.rest();
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.run(), 5000);
    }
    hear(name) {
      this.source.addEventListener(name, (event) => this.dispatchEvent(new MessageEvent(name, { data: event.data })));
    }
    addEventListener(name, listener) {
      super.addEventListener(name, listener);
      if (this.names.has(name)) return;
      this.names.add(name);
      if (this.source) this.hear(name);
    }
    close() {
      this.closed = true;
      clearTimeout(this.timer);
      document.removeEventListener("visibilitychange", this.watch);
      this.rest();
    }
  }

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

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-copy]");
    if (button) copy(button);
  });
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

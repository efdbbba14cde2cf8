/* Stream: an event stream that rests while the page is hidden. Browsers open six connections to a host, over all tabs. */
"use strict";
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
    this.source.onerror = () => this.failed();
    this.names.forEach((name) => this.hear(name));
  }
  rest() {
    if (this.source) this.source.close();
    this.source = null;
  }
  failed() {
    this.dispatchEvent(new Event("lost"));
    if (this.source.readyState !== EventSource.CLOSED) return; // the browser tries again by itself
    this.rest();
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.run(), 5000);
  }
  hear(name) {
    this.source.addEventListener(name, (event) => this.dispatchEvent(new MessageEvent(name, event)));
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

/* Asks the agent every two seconds what it is doing, while the page is looked at. */

import * as api from "./api.js";
import { badge, el } from "./dom.js";
import { tookSeconds } from "./words.js";

const SECONDS = 2;
const TONES = { online: "good", connecting: "wait", reconnecting: "bad", stopping: "wait", ended: "bad" };

export const stateBadge = (state) => badge(state, TONES[state] || "plain");

const tell = (...words) => {
  for (const place of document.querySelectorAll(".session")) place.replaceChildren(...words);
};

/* Calls `show` with each answer. What stands below the navigation says whether there was one. */
export const watchSession = (show) => {
  let timer;
  const look = async () => {
    clearTimeout(timer);
    if (document.hidden) return;
    try {
      const now = await api.now();
      const latency = now.latency === null ? null : el("span", { class: "soft num", title: "Latency to the relay" }, tookSeconds(now.latency));
      tell(stateBadge(now.state), ...(latency ? [latency] : []));
      show(now);
    } catch (error) {
      tell(badge("no answer", "bad"), el("span", { class: "soft" }, error.message));
    }
    timer = setTimeout(look, SECONDS * 1000);
  };
  document.addEventListener("visibilitychange", look);
  look();
};

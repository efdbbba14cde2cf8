/* Times, sizes and statuses as people read them. */

const NANOSECONDS = 1e9; // in a second

/* A duration given in nanoseconds. */
export const took = (nanoseconds) => {
  if (nanoseconds === null || nanoseconds === undefined) return "–";
  return tookSeconds(nanoseconds / NANOSECONDS);
};

export const tookSeconds = (seconds) => {
  const milliseconds = seconds * 1000;
  if (milliseconds < 0.05) return "<0.1 ms";
  if (milliseconds < 9.95) return `${milliseconds.toFixed(1)} ms`;
  if (milliseconds < 999.5) return `${Math.round(milliseconds)} ms`;
  return seconds < 99.95 ? `${seconds.toFixed(1)} s` : `${Math.round(seconds)} s`;
};

export const size = (bytes) => {
  if (bytes === null || bytes === undefined) return "–";
  if (bytes < 1000) return `${bytes} B`;
  const units = ["kB", "MB", "GB"];
  let value = bytes / 1000;
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) { value /= 1000; unit += 1; }
  return `${value < 9.95 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
};

export const count = (number, noun) => `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;

/* How long ago a Unix time is. */
export const ago = (at, now) => {
  const seconds = Math.max(0, now - at);
  for (const [length, unit] of [[86400, "d"], [3600, "h"], [60, "min"]]) {
    if (seconds >= length) return `${Math.floor(seconds / length)} ${unit} ago`;
  }
  return seconds < 10 ? "just now" : `${Math.floor(seconds)} s ago`;
};

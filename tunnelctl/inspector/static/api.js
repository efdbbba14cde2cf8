/* Asks the agent. Errors carry the agent's own words. */

const REQUESTS = "/api/requests/http";

class AgentError extends Error {}

const wordsOf = async (response) => {
  try {
    const { msg, details } = await response.json();
    return details && details.err ? `${msg}: ${details.err}` : msg;
  } catch {
    return `the agent answered ${response.status}`;
  }
};

const ask = async (path, options = {}) => {
  let response;
  try {
    response = await fetch(path, { cache: "no-store", ...options });
  } catch {
    throw new AgentError("the agent does not answer; it may have ended");
  }
  if (!response.ok) throw new AgentError(await wordsOf(response));
  return response.status === 204 ? null : response.json();
};

/* The session, the tunnels and the charts. */
export const now = () => ask("/inspect/now");

/* The newest exchanges, without their bytes, newest first. */
export const newest = async (limit, withHeaders) => (await ask(`${REQUESTS}?format=summary&limit=${limit}${withHeaders ? "&headers=true" : ""}`)).requests;

/* One exchange with all that was kept of it. */
export const exchange = (id) => ask(`${REQUESTS}/${encodeURIComponent(id)}`);

export const clear = () => ask(REQUESTS, { method: "DELETE" });

/* Sends a request again, with these changes. Returns the id of the new exchange. */
export const replay = async (id, changes = {}) => {
  const body = JSON.stringify({ id, wait: true, ...changes });
  const made = await ask(REQUESTS, { method: "POST", headers: { "Content-Type": "application/json" }, body });
  return made.id;
};

export const harOf = (id) => `${REQUESTS}/${encodeURIComponent(id)}?format=har`;

/* Where the events are; headers come with them only on demand, as the agent has to look through each. */
export const eventsAt = (withHeaders) => `/api/requests/events${withHeaders ? "?headers=true" : ""}`;

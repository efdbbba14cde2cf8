// What users of npm's `ngrok` do, with our agent as its program: `node drive.cjs SHIM_FOLDER`.
// Prints a line for each thing that worked; a thing that did not ends it with exit code 1.

const assert = require("node:assert");
const fs = require("node:fs");
const http = require("node:http");
const https = require("node:https");
const ngrok = require("ngrok");

const binPath = () => process.argv[2];
const ca = fs.readFileSync(process.env.TUNNELCTL_RELAY_CA);
const PASSWORD = "ann:long-enough";

/** A visitor: no DNS leads to the relay here, so it is told where that is. */
function visit(url, headers = {}) {
  const { hostname, host, port, pathname } = new URL(url);
  return new Promise((resolve, reject) => {
    const where = { host: "127.0.0.1", port, servername: hostname, ca, path: pathname, headers: { Host: host, ...headers } };
    const request = https.get(where, (answer) => {
      let body = "";
      answer.on("data", (data) => (body += data));
      answer.on("end", () => resolve({ status: answer.statusCode, body }));
    });
    request.on("error", reject);
  });
}

async function refused(what, options) {
  const error = await ngrok.connect(options).then(() => assert.fail(`${what} was not refused`), (error) => error);
  console.log(`${what} refused: ${error.message}`);
  return error;
}

/** The captured requests, newest first, once there are so many of them. */
async function requests(api, count) {
  for (;;) {
    const found = (await api.listRequests()).requests;
    if (found.length === count) return found;
  }
}

async function round(region) {
  const said = [];
  const app = http.createServer((request, answer) => answer.end(`hello ${request.url}`));
  await new Promise((resolve) => app.listen(0, "127.0.0.1", resolve));
  const common = { addr: app.address().port, binPath, region, authtoken: process.env.AUTHTOKEN };
  const first = await ngrok.connect({ ...common, onStatusChange: (status) => said.push(status) });
  assert.equal((await visit(`${first}/x`)).body, "hello /x");
  const api = ngrok.getApi();
  assert.deepEqual((await api.listTunnels()).tunnels.map((tunnel) => tunnel.public_url), [first]);
  console.log("connect and list");

  const [seen] = await requests(api, 1);
  assert.equal((await api.requestDetail(seen.id)).request.uri, "/x");
  assert.equal(await api.replayRequest(seen.id, seen.tunnel_name), true);
  const [again] = await requests(api, 2);
  assert.ok(again.id > seen.id);
  assert.equal(await api.deleteAllRequests(), true);
  await requests(api, 0);
  console.log("requests and replay");

  const guarded = await ngrok.connect({ ...common, basic_auth: PASSWORD });
  assert.equal((await visit(guarded)).status, 401);
  const credentials = { Authorization: `Basic ${Buffer.from(PASSWORD).toString("base64")}` };
  assert.equal((await visit(guarded, credentials)).status, 200);
  console.log("basic auth");

  const named = await ngrok.connect({ ...common, subdomain: `nice-${region}` });
  assert.ok(new URL(named).hostname.startsWith(`nice-${region}.`));
  const taken = await refused("taken name", { ...common, subdomain: "dashboard" });
  assert.equal(taken.message, "failed to start tunnel");
  assert.match(taken.body.details.err, /dashboard/);
  const foreign = await refused("oauth", { ...common, oauth: { provider: "google" } });
  assert.equal(foreign.message, "invalid tunnel configuration");
  console.log("subdomain");

  const both = await ngrok.connect({ ...common, bind_tls: "both" });
  assert.ok(both.startsWith("https://"));
  const tcp = await ngrok.connect({ ...common, proto: "tcp" });
  assert.match(tcp, /^tcp:\/\/.+:\d+$/);
  assert.equal((await api.listTunnels()).tunnels.length, 6);
  console.log("tcp and both schemes");

  await ngrok.disconnect(guarded);
  assert.equal((await api.listTunnels()).tunnels.length, 5);
  assert.match((await visit(guarded)).body, /Tunnel .* (not found|is closing)/);
  await ngrok.disconnect();
  assert.deepEqual((await api.listTunnels()).tunnels, []);
  console.log("disconnect");

  await ngrok.kill();
  assert.ok(said.includes("connected"));
  app.close();
  console.log("kill");
}

(async () => {
  assert.match(await ngrok.getVersion({ binPath }), /^3\./);
  await round("eu");
  await round("us");
  process.exit(0);
})().catch((error) => {
  console.error(error, error.body);
  process.exit(1);
});

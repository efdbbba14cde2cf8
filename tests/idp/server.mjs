// An OpenID-certified provider with a login form and a consent form of its own, for the journeys.
//
//   node server.mjs '{"port": 9500, "client_id": ..., "client_secret": ..., "redirect_uris": [...], "users": {...}}'
//
// `users` maps a login name to its claims; the password is the login name. PKCE is required, `iss` comes back with the
// code (RFC 9207). More members, all optional:
//   alg                   signs ID tokens: RS256 (default), ES256, PS256
//   client                more metadata of that client: post_logout_redirect_uris, backchannel_logout_uri, ...
//   clients               more clients, as whole metadata
//   claims_in_id_token    false keeps e-mail and groups to the userinfo endpoint, as some providers do
//   refresh               "always" gives a refresh token also to who did not ask for offline_access
//   ttl                   seconds for AccessToken, RefreshToken, IdToken, Session
//   tls                   {"cert": FILE, "key": FILE}: serves https
//   issuer, address       where it is to be found, and where it listens, when not at localhost
//
// Each start makes new signing keys, with the names of the old ones.
//
// Refresh tokens rotate at each use, and one that comes twice ends its whole family.
//
// `POST /control` changes the provider while it runs (see `change`), `GET /control` says what it was asked.
import { createPrivateKey, generateKeyPairSync, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import Provider, { interactionPolicy } from 'oidc-provider';
import { consentForm, frame, html, loginForm, logoutForm, page } from './pages.mjs';

const config = JSON.parse(process.argv[2]);
const issuer = config.issuer ?? `http://localhost:${config.port}`;
const WEAK_ACR = 'urn:test:password';
const STRONG_ACR = 'urn:test:mfa';

const { users } = config;
const failing = {}; // path -> status it answers with, 0 to hang up
const calls = []; // { path, method, grant_type, status }
const logouts = []; // { client_id, sub, sid, error }
let acr; // what a login claims whatever was asked

function key(type, alg, options) {
  // By way of PEM: a key that is exported while Node collects the job that made it can stop the process for ever.
  const pem = { type: 'pkcs8', format: 'pem' };
  const { privateKey } = generateKeyPairSync(type, { ...options, privateKeyEncoding: pem });
  const jwk = createPrivateKey(privateKey).export({ format: 'jwk' });
  return { ...jwk, alg, use: 'sig', kid: `${alg}-1` };
}

function client(metadata) {
  return {
    response_types: ['code'],
    grant_types: ['authorization_code', 'refresh_token'],
    id_token_signed_response_alg: config.alg ?? 'RS256',
    ...metadata,
  };
}

function findAccount(_ctx, id) {
  return users[id] && { accountId: id, claims: async () => ({ sub: id, ...users[id] }) };
}

// The provider asks nobody to sign in again for a stronger `acr` unless it is essential: many do, so this one does.
function policy() {
  const prompts = interactionPolicy.base();
  prompts.get('login').checks.add(new interactionPolicy.Check('acr', 'a stronger login is needed', ({ oidc }) => {
    const asked = oidc.params.acr_values?.split(' ') ?? [];
    return asked.length > 0 && !asked.includes(oidc.session.acr) && !oidc.result?.login;
  }));
  return prompts;
}

const provider = new Provider(issuer, {
  clients: [
    client({
      client_id: config.client_id,
      client_secret: config.client_secret,
      redirect_uris: config.redirect_uris,
      ...config.client,
    }),
    ...(config.clients ?? []).map(client),
  ],
  jwks: {
    keys: [
      key('rsa', 'RS256', { modulusLength: 2048 }),
      key('ec', 'ES256', { namedCurve: 'P-256' }),
      key('rsa', 'PS256', { modulusLength: 2048 }),
    ],
  },
  cookies: { keys: [randomBytes(32).toString('hex')] },
  acrValues: [WEAK_ACR, STRONG_ACR],
  claims: {
    openid: ['sub', 'sid', 'auth_time', 'acr', 'amr'],
    email: ['email', 'email_verified'],
    profile: ['name'],
    groups: ['groups'],
  },
  conformIdTokenClaims: config.claims_in_id_token === false,
  enabledJWA: { idTokenSigningAlgValues: ['RS256', 'ES256', 'PS256'] },
  pkce: { required: () => true },
  issueRefreshToken: (_ctx, { grantTypes }, { scopes }) =>
    grantTypes.includes('refresh_token') && (config.refresh === 'always' || scopes.has('offline_access')),
  rotateRefreshToken: () => true,
  ttl: config.ttl ?? {},
  findAccount,
  interactions: { policy: policy(), url: (_ctx, interaction) => `/interaction/${interaction.uid}` },
  // Its own calls refuse loopback addresses, by a dispatcher: back-channel logout of a relay on this machine needs none.
  fetch: (url, options) => fetch(url, { ...options, dispatcher: undefined }),
  features: {
    devInteractions: { enabled: false },
    backchannelLogout: { enabled: true },
    clientCredentials: { enabled: true },
    // Access tokens for a named resource are JWTs (RFC 9068, RFC 8707); all others are opaque.
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: (_ctx, audience) => (
        { scope: '', audience, accessTokenFormat: 'jwt', jwt: { sign: { alg: config.alg ?? 'RS256' } } }),
    },
    revocation: { enabled: true },
    rpInitiatedLogout: {
      enabled: true,
      logoutSource: (ctx, form) => { ctx.body = html('Sign out', logoutForm(form)); },
      postLogoutSuccessSource: (ctx) => { ctx.body = html('Signed out at the provider', ''); },
    },
  },
});

const noteLogout = (client_id, sub, sid, error) => logouts.push({ client_id, sub, sid, error: error?.message ?? '' });
provider.on('backchannel.success', (_ctx, { clientId }, sub, sid) => noteLogout(clientId, sub, sid));
provider.on('backchannel.error', (_ctx, error, { clientId }, sub, sid) => noteLogout(clientId, sub, sid, error));

async function bodyOf(req) {
  let text = '';
  for await (const part of req) text += part;
  return text;
}

async function grantOf(details) {
  const { Grant } = provider;
  const grant = new Grant({ accountId: details.session.accountId, clientId: details.params.client_id });
  grant.addOIDCScope(details.params.scope);
  return grant.save();
}

async function resultOf(details, form) {
  if (form.action === 'cancel') return { error: 'access_denied', error_description: 'the user said no' };
  if (details.prompt.name === 'consent') return { consent: { grantId: await grantOf(details) } };
  if (!users[form.login] || form.password !== form.login) return undefined;
  const reached = acr ?? details.params.acr_values?.split(' ')[0] ?? WEAK_ACR;
  const amr = reached === STRONG_ACR ? ['pwd', 'otp'] : ['pwd'];
  return { login: { accountId: form.login, acr: reached, amr } };
}

async function interact(req, res) {
  const details = await provider.interactionDetails(req, res);
  if (req.method === 'POST') {
    const result = await resultOf(details, Object.fromEntries(new URLSearchParams(await bodyOf(req))));
    if (result) return provider.interactionFinished(req, res, result, { mergeWithLastSubmission: true });
  }
  return details.prompt.name === 'consent'
    ? page(res, 'Consent', consentForm(details.params))
    : page(res, 'Sign in', loginForm(details.params.login_hint));
}

// users: login name -> its claims from now on, null when the account is gone.
// failing: path -> status it answers with (0 hangs up), null when it works again.
// acr: what every login from now on claims, null for what was asked.
// logout: {client_id, sub, sid} sends a back-channel logout token, as an administrator's click would.
async function change(wanted) {
  for (const [name, claims] of Object.entries(wanted.users ?? {})) {
    if (claims === null) delete users[name]; else users[name] = claims;
  }
  for (const [path, status] of Object.entries(wanted.failing ?? {})) {
    if (status === null) delete failing[path]; else failing[path] = status;
  }
  if ('acr' in wanted) acr = wanted.acr ?? undefined;
  if (wanted.logout) {
    const { client_id, sub, sid } = wanted.logout;
    const known = await provider.Client.find(client_id ?? config.client_id);
    await known.backchannelLogout(sub, sid).then(
      () => noteLogout(known.clientId, sub, sid),
      (error) => noteLogout(known.clientId, sub, sid, error),
    );
  }
}

async function control(req, res) {
  if (req.method === 'POST') await change(JSON.parse(await bodyOf(req)));
  res.writeHead(200, { 'content-type': 'application/json' });
  res.end(JSON.stringify({ calls, logouts }));
}

provider.use(async (ctx, next) => {
  await next();
  calls.push({ path: ctx.path, method: ctx.method, grant_type: ctx.oidc?.body?.grant_type ?? '', status: ctx.status });
});

const serve = provider.callback();

async function route(req, res) {
  const url = new URL(req.url, issuer);
  if (url.pathname === '/control') return control(req, res);
  if (url.pathname === '/frontchannel') return page(res, 'Signing out', frame(url.searchParams.get('to')));
  if (url.pathname.startsWith('/interaction/')) return interact(req, res);
  const status = failing[url.pathname];
  if (status === undefined) return serve(req, res);
  calls.push({ path: url.pathname, method: req.method, grant_type: '', status });
  if (status === 0) return req.socket.destroy();
  res.writeHead(status, { 'content-type': 'application/json' });
  return res.end('{"error":"server_error"}');
}

function answer(req, res) {
  route(req, res).catch((error) => {
    res.writeHead(400, { 'content-type': 'text/plain' });
    res.end(`${error.name}: ${error.message}\n`);
  });
}

const { tls } = config;
const server = tls
  ? createSecureServer({ cert: readFileSync(tls.cert), key: readFileSync(tls.key) }, answer)
  : createServer(answer);
server.listen(config.port, config.address ?? '127.0.0.1', () => console.log(JSON.stringify({ msg: 'listening', issuer })));

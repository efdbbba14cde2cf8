// An OpenID-certified provider with a login form and a consent form of its own, for the journeys.
//
//   node server.mjs '{"port": 9500, "client_id": ..., "client_secret": ..., "redirect_uris": [...], "users": {...}}'
//
// `users` maps a login name to its claims; the password is the login name. PKCE is required, `iss` comes back with the
// code (RFC 9207). `claims_in_id_token: false` keeps e-mail and groups to the userinfo endpoint, as some providers do.
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import Provider from 'oidc-provider';

const config = JSON.parse(process.argv[2]);
const issuer = `http://localhost:${config.port}`;

function key(type, alg, options) {
  const jwk = generateKeyPairSync(type, options).privateKey.export({ format: 'jwk' });
  return { ...jwk, alg, use: 'sig', kid: `${alg}-1` };
}

function findAccount(_ctx, id) {
  const claims = config.users[id];
  return claims && { accountId: id, claims: async () => ({ sub: id, ...claims }) };
}

const provider = new Provider(issuer, {
  clients: [{
    client_id: config.client_id,
    client_secret: config.client_secret,
    redirect_uris: config.redirect_uris,
    response_types: ['code'],
    grant_types: ['authorization_code', 'refresh_token'],
    id_token_signed_response_alg: config.alg ?? 'RS256',
  }],
  jwks: { keys: [key('rsa', 'RS256', { modulusLength: 2048 }), key('ec', 'ES256', { namedCurve: 'P-256' })] },
  cookies: { keys: [randomBytes(32).toString('hex')] },
  claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['name'], groups: ['groups'] },
  conformIdTokenClaims: config.claims_in_id_token === false,
  pkce: { required: () => true },
  findAccount,
  interactions: { url: (_ctx, interaction) => `/interaction/${interaction.uid}` },
  features: { devInteractions: { enabled: false } },
});

function page(res, title, body) {
  res.writeHead(200, { 'content-type': 'text/html; charset=utf-8', 'cache-control': 'no-store' });
  res.end(`<!doctype html><meta charset=utf-8><title>${title}</title>
<style>body{font:16px system-ui;max-width:24rem;margin:4rem auto}input,button{display:block;width:100%;margin:.6rem 0;
padding:.6rem;font:inherit;box-sizing:border-box}</style><h1>${title}</h1><form method=post>${body}</form>`);
}

const escape = (text) => text.replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);

const LOGIN_FORM = `<input name=login placeholder="Login" required autofocus>
<input name=password type=password placeholder="Password" required><button name=action value=login>Sign in</button>
<button name=action value=cancel formnovalidate>Cancel</button>`;

function consentForm(details) {
  return `<p>${escape(details.params.client_id)} asks for: ${escape(details.params.scope)}</p>
<button name=action value=consent>Continue</button><button name=action value=cancel>Cancel</button>`;
}

async function formOf(req) {
  let text = '';
  for await (const part of req) text += part;
  return Object.fromEntries(new URLSearchParams(text));
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
  const known = config.users[form.login] && form.password === form.login;
  return known ? { login: { accountId: form.login } } : undefined;
}

async function interact(req, res) {
  const details = await provider.interactionDetails(req, res);
  if (req.method === 'POST') {
    const result = await resultOf(details, await formOf(req));
    if (result) return provider.interactionFinished(req, res, result, { mergeWithLastSubmission: true });
  }
  return details.prompt.name === 'consent'
    ? page(res, 'Consent', consentForm(details))
    : page(res, 'Sign in', LOGIN_FORM);
}

const serve = provider.callback();
createServer((req, res) => {
  if (!req.url.startsWith('/interaction/')) return serve(req, res);
  return interact(req, res).catch((error) => {
    res.writeHead(400, { 'content-type': 'text/plain' });
    res.end(`${error.name}: ${error.message}\n`);
  });
}).listen(config.port, '127.0.0.1', () => console.log(JSON.stringify({ msg: 'listening', issuer })));

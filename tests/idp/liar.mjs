// A provider that lies when told: npm oauth2-mock-server, which signs anybody in without asking.
//
//   node liar.mjs '{"port": 9500, "users": {...}, "metadata": {...}}'
//
// `metadata` is laid over its discovery document for good. `POST /control` takes one or more of
//   user: "bob"      who signs in from now on (at first alice)
//   rotate: true     another signing key under another kid; the old one is published no more
//   next: {...}      lies for the next login alone:
//     claims, header, response, userinfo, redirect
//                    laid over the honest ID token, its header, the token endpoint's answer, the userinfo answer, and the
//                    parameters that the visitor brings back; null takes a member away
//     status         of the token endpoint's answer
//     sign           none, hmac (with the public key as the secret), stranger (a key nobody published), previous (the key
//                    before the rotation), embedded (a stranger's key that the header itself carries)
//     signature      in the place of the real one
//     idToken        in the place of the whole token; "access_token" takes the access token
// and `GET /control` tells the requests so far.
import { createHmac, createPublicKey, generateKeyPairSync, sign } from 'node:crypto';
import { createServer } from 'node:http';
import { OAuth2Issuer, OAuth2Service } from 'oauth2-mock-server';

const config = JSON.parse(process.argv[2]);
const url = `http://localhost:${config.port}`;
const stranger = generateKeyPairSync('rsa', {
  modulusLength: 2048, // as PEM for the reason told in server.mjs
  publicKeyEncoding: { type: 'spki', format: 'pem' },
  privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
});
const calls = [];
let user = 'alice';
let lies = {};
let generation = 0;
let previous;
let service;

const encode = (value) => Buffer.from(value).toString('base64url');
const decode = (part) => JSON.parse(Buffer.from(part, 'base64url'));
const without = (object) => Object.fromEntries(Object.entries(object).filter(([, value]) => value !== null));
const laidOver = (honest, lie) => without({ ...honest, ...lie });
const signingKey = () => ({ key: service.issuer.keys.toJSON(true)[0], format: 'jwk' });
const published = () => createPublicKey(signingKey()).export({ type: 'spki', format: 'pem' });
const rsa = (key) => (text) => sign('RSA-SHA256', Buffer.from(text), key).toString('base64url');

const SIGNERS = {
  honest: () => [{}, rsa(signingKey())],
  none: () => [{ alg: 'none' }, () => ''],
  hmac: () => [{ alg: 'HS256' }, (text) => createHmac('sha256', published()).update(text).digest('base64url')],
  stranger: () => [{}, rsa(stranger.privateKey)],
  previous: () => [{ kid: previous.key.kid }, rsa(previous)],
  embedded: () => [{ jwk: createPublicKey(stranger.publicKey).export({ format: 'jwk' }) }, rsa(stranger.privateKey)],
};

function idToken(honest) {
  const [header, claims] = honest.split('.').slice(0, 2).map(decode);
  const [lyingHeader, signed] = SIGNERS[lies.sign ?? 'honest']();
  const text = [laidOver({ ...header, ...lyingHeader }, lies.header), laidOver({ ...claims, sub: user,
    ...config.users[user] }, lies.claims)].map((part) => encode(JSON.stringify(part))).join('.');
  return `${text}.${lies.signature ?? signed(text)}`;
}

async function renew() {
  if (service) previous = signingKey();
  const issuer = new OAuth2Issuer();
  issuer.url = url;
  generation += 1;
  await issuer.keys.generate('RS256', { kid: `liar-${generation}` });
  service = new OAuth2Service(issuer);
  service.on('beforeResponse', (answer) => {
    const { body } = answer;
    if (lies.idToken === 'access_token') body.id_token = body.access_token;
    else body.id_token = lies.idToken ?? idToken(body.id_token);
    answer.body = laidOver(body, lies.response);
    answer.statusCode = lies.status ?? 200;
    lies = {};
  });
  service.on('beforeUserinfo', (answer) => {
    answer.body = laidOver({ sub: user, ...config.users[user] }, lies.userinfo);
  });
  service.on('beforeAuthorizeRedirect', (redirect) => {
    for (const [name, value] of Object.entries(lies.redirect ?? {})) {
      if (value === null) redirect.url.searchParams.delete(name); else redirect.url.searchParams.set(name, value);
    }
  });
}

async function control(req, res) {
  let text = '';
  for await (const part of req) text += part;
  const wanted = JSON.parse(text || '{}');
  if (wanted.rotate) await renew();
  if (wanted.user) user = wanted.user;
  if (wanted.next) lies = wanted.next;
  res.writeHead(200, { 'content-type': 'application/json' });
  res.end(JSON.stringify({ calls }));
}

function serve(req, res) {
  const { pathname } = new URL(req.url, url);
  if (pathname === '/control') return control(req, res);
  calls.push({ path: pathname, method: req.method });
  if (pathname !== '/.well-known/openid-configuration') return service.requestHandler(req, res);
  return service.openidConfigurationHandler(req, { json: (document) => {
    res.writeHead(200, { 'content-type': 'application/json' });
    res.end(JSON.stringify(laidOver(document, config.metadata)));
  } });
}

await renew();
createServer(serve).listen(config.port, '127.0.0.1', () => console.log(JSON.stringify({ msg: 'listening', issuer: url })));

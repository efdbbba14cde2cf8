// What people see at the certified provider: plain forms, nothing to load, no script.

export const escape = (text) => String(text).replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);

export function html(title, body) {
  return `<!doctype html><meta charset=utf-8><title>${title}</title>
<style>body{font:16px system-ui;max-width:24rem;margin:4rem auto}input,button{display:block;width:100%;margin:.6rem 0;
padding:.6rem;font:inherit;box-sizing:border-box}</style><h1>${title}</h1>${body}`;
}

export function page(res, title, body) {
  res.writeHead(200, { 'content-type': 'text/html; charset=utf-8', 'cache-control': 'no-store' });
  res.end(html(title, body));
}

export const loginForm = (hint) => `<form method=post>
<input name=login placeholder="Login" value="${escape(hint ?? '')}" required autofocus>
<input name=password type=password placeholder="Password" required><button name=action value=login>Sign in</button>
<button name=action value=cancel formnovalidate>Cancel</button></form>`;

export const consentForm = (params) => `<form method=post>
<p>${escape(params.client_id)} asks for: ${escape(params.scope)}</p>
<button name=action value=consent>Continue</button><button name=action value=cancel>Cancel</button></form>`;

// The form is the provider's own, with its token against forgery; without `logout` it ends this client's part only.
export const logoutForm = (form) => form.replace('</form>', `<p>Sign out here as well?</p>
<button name=logout value=yes>Yes, sign me out</button><button>No, stay signed in</button></form>`);

// OpenID Connect Front-Channel Logout 1.0: a page of the provider's that loads the application's address in a frame.
export const frame = (url) => `<iframe src="${escape(url)}" title="Signing you out"></iframe>`;

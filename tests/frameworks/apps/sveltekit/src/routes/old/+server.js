export function GET({ url }) {
  return new Response(null, { status: 302, headers: { location: new URL('/form', url).href } })
}

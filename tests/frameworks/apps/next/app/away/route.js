export function GET(request) {
  return Response.redirect(new URL('/done?word=moved', request.url))
}

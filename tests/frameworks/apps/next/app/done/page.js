export default async function Page({ searchParams }) {
  return <p id="done">{(await searchParams).word}</p>
}

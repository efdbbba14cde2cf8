import { redirect } from 'next/navigation'

async function send(data) {
  'use server'
  redirect(`/done?word=${data.get('word')}`)
}

export default function Page() {
  return (
    <form action={send}>
      <input name="word" />
      <button>Send</button>
    </form>
  )
}

import { redirect } from 'next/navigation'

export function GET() {
  redirect('/done?word=moved')
}

'use client'

import { text } from '../text.js'

export default function Page() {
  return <p id="text">{text}</p>
}

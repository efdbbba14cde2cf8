import { text } from './text.js'

const show = (shown) => (document.querySelector('#text').textContent = shown)
show(text)
import.meta.hot.accept('./text.js', (changed) => show(changed.text))

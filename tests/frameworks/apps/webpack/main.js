import { text } from './text.js'

const show = (shown) => (document.querySelector('#text').textContent = shown)
show(text)
import.meta.webpackHot.accept('./text.js', () => show(text))

from pathlib import Path

import gradio

with gradio.Blocks() as demo:
    gradio.Markdown("as it was")
    word = gradio.Textbox(label="word")
    heard = gradio.Markdown()
    word.submit(lambda text: f"heard {text}", word, heard)
    file = gradio.File(label="file")
    got = gradio.Markdown()
    file.upload(lambda path: f"got {Path(path).read_text()}", file, got)

demo.launch()

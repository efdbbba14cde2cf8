"""Flask, with Flask-WTF's protection of forms and a websocket of Flask-Sock's."""

from flask import Flask, redirect, render_template_string, request, url_for
from flask_sock import Sock
from flask_wtf.csrf import CSRFProtect

app = Flask(__name__)
app.config["SECRET_KEY"] = "of-the-test"
CSRFProtect(app)
sock = Sock(app)
PAGE = """<p id="text"></p><script>
new WebSocket(`${location.origin.replace('http', 'ws')}/live`).onmessage = (event) => {
  document.querySelector('#text').textContent = event.data
}
</script>"""
FORM = """<form method="post"><input type="hidden" name="csrf_token" value="{{ csrf_token() }}">
<input name="word"><button>Send</button></form><p id="done">{{ word }}</p>"""


@app.get("/")
def home():
    return PAGE


@app.route("/form", methods=["GET", "POST"])
def form():
    return render_template_string(FORM, word=request.form.get("word", ""))


@app.get("/old")
def old():
    return redirect(url_for("form", _external=True))


@sock.route("/live")
def live(socket):
    socket.send("as it was")
    socket.receive()

from django.http import HttpResponse, HttpResponseRedirect
from django.template import engines
from django.urls import path

FORM = """<form method="post">{% csrf_token %}<input name="word"><button>Send</button></form>
<p id="done">{{ word }}</p>"""


def home(request):
    return HttpResponse('<p id="text">as it was</p>')


def form(request):
    return HttpResponse(engines["django"].from_string(FORM).render({"word": request.POST.get("word", "")}, request))


def old(request):
    return HttpResponseRedirect(request.build_absolute_uri("/form"))


urlpatterns = [path("", home), path("form", form), path("old", old)]

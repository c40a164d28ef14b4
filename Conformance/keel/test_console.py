"""The console: who gets in, what a page of another site can do (nothing), two people who steer one rollout, and what open pages hear."""
import re
import socket
import threading
import time
from urllib.parse import urlsplit

import pytest
import requests

import walking
import worlds
from receiver import LAPTOP
from servers import Keel

HTML = {"Accept": "text/html"}


@pytest.fixture(scope="module")
def local():
    """A server that trusts its own user, with an endpoint that answers."""
    keel = Keel(environment={"KEEL_AUTH_REFUSALS": "1000000"} | LAPTOP).start()
    server = walking.Server(keel)
    worlds.make(server, "default", "shop")
    worlds.predicted(server, "default", "shop")
    yield server
    keel.stop()


def origin(server):
    return server.keel.url


def page(server, path, session=requests, **headers):
    return session.get(server.keel.url + path, headers=HTML | headers, timeout=30)


def csrf(text):
    return re.search(r'name="csrf" value="([0-9a-f]{64})"', text)[1]


def post(server, path, form, session=requests, **headers):
    return session.post(server.keel.url + path, data=form, headers=HTML | {"Origin": origin(server)} | headers, allow_redirects=False, timeout=30)


def signed_in(server, persona, name):
    token = server.json("POST", "/api/v1/tokens", {"name": name, "persona": persona})["secret"]
    session = requests.Session()
    answer = post(server, "/console/sign-in", {"token": token, "to": "/console/models"}, session)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/console/models"), answer.text
    return session, token, answer


PATHS = ["/console", "/console/endpoints", "/console/endpoints/shop-endpoint", "/console/endpoints/shop-endpoint/releases/1", "/console/endpoints/shop-endpoint/try",
         "/console/endpoints/shop-endpoint/predictions", "/console/endpoints/shop-endpoint/predictions/shop-prediction", "/console/models", "/console/models/shop-model",
         "/console/models/shop-model/versions/1", "/console/ledger", "/console/ledger/1", "/console/ledger/live-at", "/console/search?q=shop", "/console/workspaces"]


@pytest.mark.parametrize("path", PATHS)
def test_a_page_is_whole_small_and_loads_nothing_from_elsewhere(local, path):
    answer = page(local, path)
    assert answer.status_code == 200, answer.text[:500]
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8" and answer.headers["Cache-Control"] == "no-store"
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"] and answer.headers["Referrer-Policy"] == "same-origin"
    assert len(answer.content) < 100_000
    assert answer.text.count("<main") == 1 and answer.text.rstrip().endswith("</html>") and "{{" not in answer.text
    assert not re.search(r"""(src|href|action)=["'](https?:)?//""", answer.text) and not re.search(r"<script(?![^>]*src=)|\son\w+=|style=", answer.text)
    fragment = page(local, path, **{"HX-Request": "true"})
    assert fragment.status_code == 200 and "<html" not in fragment.text and "<h1" in fragment.text


def test_the_root_says_where_the_console_is(local):
    answer = page(local, "/")
    assert answer.status_code == 200 and "/console" in answer.text


def test_a_page_of_another_site_commands_nothing_and_reads_nothing(local):
    form = page(local, "/console/models/shop-model").text
    good = {"csrf": csrf(form), "alias": "mine", "version": "1"}
    before = local.json("GET", "/api/v1/models/shop-model")
    path = "/console/models/shop-model/aliases"
    refused = [
        post(local, path, good, Origin="https://evil.example"), post(local, path, good, Origin="null"),
        # Another port of the same host is another origin, and the same site.
        post(local, path, good, Origin=re.sub(r":\d+$", ":1", origin(local))),
        post(local, path, good, **{"Sec-Fetch-Site": "cross-site"}), post(local, path, good, **{"Sec-Fetch-Site": "same-site"}),
        post(local, path, good | {"csrf": "0" * 64}), post(local, path, {k: v for k, v in good.items() if k != "csrf"}),
        post(local, path, good, Host="evil.example"),
    ]
    bare = requests.post(local.keel.url + path, data=good, allow_redirects=False, timeout=30)
    assert [answer.status_code for answer in refused] == [403] * len(refused) and bare.status_code == 415
    frames = [page(local, "/console", **{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": mode, "Sec-Fetch-Dest": dest}).status_code
              for mode, dest in [("no-cors", "script"), ("navigate", "iframe"), ("cors", "empty"), ("navigate", "document")]]
    assert frames == [403, 403, 403, 200], "a link opens a page, and nothing else of another site does"
    assert local.json("GET", "/api/v1/models/shop-model") == before
    # What the API refuses of pages it refuses still.
    assert requests.post(local.keel.url + "/api/v1/plan", data={"a": "b"}, headers={"Origin": origin(local)}, timeout=30).status_code == 415
    done = post(local, path, good)
    assert (done.status_code, done.headers["Location"]) == (303, "/console/models/shop-model"), done.text
    assert "mine" in str(local.json("GET", "/api/v1/models/shop-model"))


def test_a_session_is_for_pages_alone_and_ends_with_its_token(local):
    session, token, answer = signed_in(local, "data-scientist", "ada")
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie and "Path=/console" in cookie and token not in cookie
    shown = page(local, "/console", session)
    assert ">ada<" in shown.text and "/console/ledger" not in shown.text and "/console/models" in shown.text
    # What a role may not see is not linked, and refused.
    assert page(local, "/console/ledger", session).status_code == 403
    # The cookie lets nobody into an API: not as ada, and not by the name of its value.
    value = session.cookies.get_dict()
    name = next(iter(value))
    as_cookie = requests.get(local.keel.url + "/api/v1/ledger", headers={"Cookie": f"{name}={value[name]}", "Sec-Fetch-Site": "cross-site"}, timeout=30)
    assert as_cookie.status_code == 403
    assert requests.get(local.keel.url + "/console", headers={"Authorization": f"Bearer {value[name]}"} | HTML, timeout=30).status_code == 401
    assert requests.delete(local.keel.url + "/api/v1/tokens/ada", timeout=30).status_code == 200
    ended = page(local, "/console/models", session)
    assert ended.status_code == 401 and 'action="/console/sign-in"' in ended.text and 'value="/console/models"' in ended.text
    # It never becomes the local owner's by itself.
    assert "ada" not in ended.text and "signed out" in ended.text


def test_signing_out_ends_the_session_and_no_form_of_it_works_any_more(local):
    session, _, _ = signed_in(local, "ml-engineer", "eve")
    token = csrf(page(local, "/console/models/shop-model", session).text)
    cookies = dict(session.cookies)
    assert post(local, "/console/sign-out", {"csrf": "0"}, session).status_code == 403
    left = post(local, "/console/sign-out", {"csrf": token}, session)
    assert left.status_code == 303 and "Max-Age=0" in left.headers["Set-Cookie"]
    again = requests.get(local.keel.url + "/console", headers=HTML, cookies=cookies, timeout=30)
    assert again.status_code == 401
    # A form of one person's page is nothing in the hands of another.
    other, _, _ = signed_in(local, "ml-engineer", "eve-2")
    assert post(local, "/console/models/shop-model/aliases", {"csrf": token, "alias": "theirs", "version": "1"}, other).status_code == 403


@pytest.mark.parametrize("form,headers,status", [
    ({"token": "keel_wrong"}, {}, 401), ({}, {}, 401), ({"token": "x" * 100_000}, {}, 401), ({"token": "good"}, {"Origin": "https://evil.example"}, 403),
    ({"token": "good"}, {"Sec-Fetch-Site": "cross-site"}, 403)])
def test_signing_in_takes_a_good_token_from_its_own_page(local, form, headers, status):
    answer = post(local, "/console/sign-in", form, **headers)
    assert answer.status_code == status and "Set-Cookie" not in answer.headers or "Max-Age=0" in answer.headers["Set-Cookie"]


def test_whoever_signed_in_comes_to_a_page_of_the_console_and_nowhere_else(local):
    token = local.json("POST", "/api/v1/tokens", {"name": "goer", "persona": "member"})["secret"]
    for to in ("//evil.example/", "https://evil.example/console/", "/console/../evil", "/api/v1/tokens", "/console\r\nX-Injected: 1"):
        answer = post(local, "/console/sign-in", {"token": token, "to": to})
        assert answer.status_code == 303 and re.fullmatch(r"/console(/\.\./evil)?", answer.headers["Location"]) and "X-Injected" not in answer.headers, to


def test_of_two_who_steer_one_rollout_the_second_is_told(local):
    shown = page(local, "/console/endpoints/shop-endpoint").text
    stale = {"csrf": csrf(shown), "stable": "1", "candidate": "7", "reason": "seen long ago"}
    before = local.json("GET", "/api/v1/endpoints/shop-endpoint/releases")
    for path in ("promote", "rollback"):
        answer = post(local, f"/console/endpoints/shop-endpoint/{path}", stale)
        assert answer.status_code == 409 and "has changed since you looked" in answer.text, answer.text
    assert local.json("GET", "/api/v1/endpoints/shop-endpoint/releases") == before
    # An alias that somebody moved meanwhile is not moved unseen.
    answer = post(local, "/console/models/shop-model/aliases", {"csrf": csrf(shown), "alias": "champion", "version": "1", "expecting": "9"})
    assert answer.status_code == 409 and "not where it was expected" in answer.text


def test_try_it_answers_with_what_the_model_was_given_and_says_what_is_wrong(local):
    shown = page(local, "/console/endpoints/shop-endpoint/try").text
    fields = re.findall(r'name="(x\.[^"]+)"', shown)
    assert fields
    wrong = post(local, "/console/endpoints/shop-endpoint/try", {"csrf": csrf(shown)} | {name: "no number" for name in fields})
    assert wrong.status_code == 200 and 'role="alert"' in wrong.text
    right = {"x.user": "u1", "x.at": "2024-06-01T00:00:00Z", "x.price": "3"}
    answer = post(local, "/console/endpoints/shop-endpoint/try", {"csrf": csrf(shown)} | {name: right.get(name, "1") for name in fields})
    assert answer.status_code == 200 and "What the model was given" in answer.text, answer.text
    prediction = re.search(r'href="(/console/endpoints/shop-endpoint/predictions/[^"]+)"', answer.text)[1]
    assert page(local, prediction).status_code == 200


def test_names_from_outside_are_text(local):
    name = "<img src=x onerror=alert(1)>\u202e\U0001f600" + "y" * 150
    local.json("POST", "/api/2.0/mlflow/registered-models/create", {"name": name.replace("/", ""), "description": "<script>alert(2)</script>"})
    for path in ("/console/models?q=onerror", "/console/search?q=onerror", "/console", "/console/ledger"):
        text = page(local, path).text
        assert "<img src=x" not in text and "<script>alert" not in text, path
    link = re.search(r'href="(/console/models/%3Cimg[^"]+)"', page(local, "/console/models?q=onerror").text)[1]
    shown = page(local, link)
    assert shown.status_code == 200 and "<script>alert" not in shown.text and "&lt;script&gt;alert(2)" in shown.text


@pytest.mark.parametrize("path,status", [
    ("/console/nothing", 404), ("/console/endpoints/none", 404), ("/console/endpoints/a%2Fb", 400), ("/console/endpoints?sort=weight", 400),
    ("/console/endpoints?limit=100000", 400), ("/console/ledger?after=x", 400), ("/console/ledger?since=yesterday", 400), ("/console/ledger/0", 400),
    ("/console/ledger/99999999", 404), ("/console/endpoints/shop-endpoint/releases/x", 400), ("/console/endpoints/shop-endpoint/releases/99", 404),
    ("/console/models/none", 404), ("/console/models?after=nonsense", 400), ("/console?workspace=nowhere", 403), ("/console?workspace=%3Cb%3E", 400)])
def test_bad_addresses_get_a_page_that_says_what_is_wrong(local, path, status):
    answer = page(local, path)
    assert answer.status_code == status and 'role="alert"' in answer.text and answer.headers["Content-Type"].startswith("text/html"), answer.text[:300]
    assert "<b>" not in answer.text


def test_open_pages_hear_what_their_reader_may_hear_of_until_the_token_ends(local):
    session, token, _ = signed_in(local, "data-scientist", "listener")
    heard = []

    def listen():
        with session.get(local.keel.url + "/console/events", stream=True, timeout=60) as answer:
            for line in answer.iter_lines(decode_unicode=True):
                heard.append(line)
        heard.append("ended")

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    until(lambda: "event: open" in heard)
    local.json("POST", "/api/2.0/mlflow/registered-models/create", {"name": "heard-of"})
    # Tokens are none of a data scientist's business.
    local.json("POST", "/api/v1/tokens", {"name": "secretly-made", "persona": "member"})
    until(lambda: any("heard-of" in line for line in heard))
    assert "event: models" in heard and not any("secretly-made" in line for line in heard)
    assert requests.delete(local.keel.url + "/api/v1/tokens/listener", timeout=30).status_code == 200
    until(lambda: heard[-1] == "ended", 40)


def until(condition, seconds=10):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


def test_a_workspace_is_opened_by_its_name_and_a_form_of_another_does_nothing(local):
    local.json("POST", "/api/v1/workspaces", {"name": "elsewhere-ws"})
    local.json("POST", "/api/2.0/mlflow/registered-models/create", {"name": "shop-model"}, workspace="elsewhere-ws")
    with requests.Session() as browser:
        here = csrf(page(local, "/console/models/shop-model", browser).text)
        assert page(local, "/console?workspace=elsewhere-ws", browser).status_code == 200
        there = page(local, "/console/models/shop-model", browser).text
        assert ">elsewhere-ws<" in there and csrf(there) != here
        # The tab that was opened before shows the model of the other workspace, and its form must not reach this one.
        refused = post(local, "/console/models/shop-model/aliases", {"csrf": here, "alias": "lost", "version": "1"}, browser)
        assert refused.status_code == 403 and "out of date" in refused.text
        assert page(local, "/console?workspace=default", browser).status_code == 200


def test_an_open_page_does_not_hold_up_a_stop():
    keel = Keel().start()
    host = urlsplit(keel.url)
    with socket.create_connection((host.hostname, host.port)) as connection:
        connection.sendall(f"GET /console/events HTTP/1.1\r\nHost: {host.netloc}\r\n\r\n".encode())
        assert b"200" in connection.recv(4096)
        start = time.monotonic()
        keel.stop()
        assert time.monotonic() - start < 5


def test_without_trust_in_the_machine_everybody_signs_in(guarded):
    server, tokens = guarded
    answer = requests.get(server.url + "/console/endpoints", headers=HTML, timeout=30)
    assert answer.status_code == 401 and "Sign in" in answer.text and 'value="/console/endpoints"' in answer.text
    assert requests.get(server.url + "/console/endpoints", timeout=30).json()["error"]["code"] == "unauthenticated"
    for persona, token in tokens.items():
        with requests.Session() as session:
            entered = session.post(server.url + "/console/sign-in", data={"token": token}, headers={"Origin": server.url}, allow_redirects=False, timeout=30)
            assert entered.status_code == 303
            home = session.get(server.url + "/console", headers=HTML, timeout=30)
            assert home.status_code == 200
            for link in re.findall(r'<li><a href="(/console/[a-z]+)"', home.text):
                assert session.get(server.url + link, headers=HTML, timeout=30).status_code == 200, (persona, link)


def released(server, trees):
    """Trains anew and releases: the endpoint's next candidate, which waits in shadow for requests."""
    run = server.json("POST", "/api/v1/pipelines/train/runs", {"parameters": {"trees": trees, "endpoint": "shop-endpoint"}})["run"]
    assert worlds.wait(server, "default", run)["state"] == "succeeded"


def stands(server):
    return {release["state"]: release["number"] for release in server.json("GET", "/api/v1/endpoints/shop-endpoint/releases")["releases"]}


def test_a_rollout_is_seen_with_its_conditions_and_steered_with_a_reason(local):
    path = "/console/endpoints/shop-endpoint"
    released(local, 5)
    before = stands(local)
    candidate, stable = str(before["candidate"]), str(before["stable"])
    shown = page(local, path).text
    assert f'id="rollout">Rollout of release <a href="{path}/releases/{candidate}">' in shown
    assert "errors &gt; 5%" in shown and "not enough evidence" in shown and '<li aria-current="step">shadow</li>' in shown and "of 20 requests" in shown
    form = {"csrf": csrf(shown), "stable": stable, "candidate": candidate}
    assert post(local, path + "/rollback", form).status_code == 400, "a decision has a reason"
    assert post(local, path + "/rollback", form | {"reason": "it looks <odd>"}).status_code == 303
    assert stands(local)["stable"] == before["stable"] and "candidate" not in stands(local)
    event = local.json("GET", "/api/v1/ledger?subject=Endpoint/shop-endpoint&order=newest&limit=1")["events"][0]
    assert (event["kind"], event["caller"], event["data"]["reason"]) == ("release.rolledback", "local", "it looks <odd>")
    told = page(local, f"{path}/releases/{candidate}").text
    assert "Why it was taken back" in told and "it looks &lt;odd&gt;" in told
    late = post(local, path + "/promote", form | {"reason": "late"})
    assert late.status_code == 409 and "has changed since you looked" in late.text

    released(local, 7)
    there = stands(local)
    form = {"csrf": csrf(page(local, path).text), "stable": str(there["stable"]), "candidate": str(there["candidate"]), "reason": "good enough"}
    moment = local.json("GET", "/api/v1/ledger?order=newest&limit=1")["events"][0]
    assert post(local, path + "/promote", form).status_code == 303
    assert stands(local)["stable"] == there["candidate"]
    back = {"csrf": form["csrf"], "stable": str(there["candidate"]), "to": stable, "reason": "the old one was better"}
    assert post(local, path + "/rollback", back).status_code == 303
    assert str(stands(local)["stable"]) == stable
    # What was live is read from the ledger alone.
    then = page(local, "/console/ledger/live-at?at=" + moment["at"]).text
    assert f'href="{path}/releases/{there["stable"]}"' in then and f"release {there['candidate']}" in then
    assert "rolled back" in page(local, "/console").text

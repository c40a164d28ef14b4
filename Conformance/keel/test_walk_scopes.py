"""The walk of every route by callers whose role covers some things only: what they name is covered or refused."""
import json
import re

import pytest

import walking
import worlds
from receiver import LAPTOP
from servers import Keel

MLFLOW = "/api/2.0/mlflow/"
# Lists that show what of them a caller's role covers, and what else is in them. All other routes that name nothing refuse such a caller.
LISTS = {
    ("GET", "/api/2.0/mlflow/registered-models/search"): lambda said: [model["name"] for model in said.get("registered_models", [])],
    ("GET", "/api/2.0/mlflow/model-versions/search"): lambda said: [version["name"] for version in said.get("model_versions", [])],
    ("GET", "/api/v1/models"): lambda said: [model["name"] for model in said["models"]],
}
OTHER_LISTS = {
    ("GET", "/api/v1/tokens"): lambda said: said["tokens"],
    ("GET", "/api/v1/endpoints"): lambda said: said["endpoints"],
    ("GET", "/api/v1/resources/{kind}"): lambda said: said["resources"],
    ("POST", "/v2/repository/index"): lambda said: said,
}
# Those of what serves: here nothing does.
SERVING_LISTS = {
    ("GET", "/v2/models/stats"): lambda said: said["model_stats"],
    ("GET", "/v1/models"): lambda said: said["models"],
}
# Routes of models that ask for more than the model, of which a role over models gives nothing: a run's files, and the run that a card tells of.
MORE = {("GET", "/model-versions/get-artifact"), ("GET", "/api/v1/models/{name}/versions/{version}/card")}
# Pages that show what of a list a caller's role covers.
PAGES = {("GET", f"/console/{page}") for page in ("datasets", "endpoints", "features", "lineage", "models", "monitors", "triggers")}
# What the server's version can do, which MLflow's client asks before anything else.
ABLE = {("GET", "/api/3.0/mlflow/server-info")}
# Asks the only endpoint that the caller may ask.
SOLE = ("POST", "/invocations")
# Asks the predictions that the caller may read: who may read none has no table.
QUERY = ("POST", "/api/v1/query")


@pytest.fixture(scope="module")
def server():
    keel = Keel(environment={"KEEL_AUTH_REFUSALS": "1000000"} | LAPTOP).start()
    yield walking.Server(keel)
    keel.stop()


def bind(server, name, spec):
    """A token that may do what a role binding gives, and nothing else."""
    token = server.json("POST", "/api/v1/tokens", {"name": name, "persona": "member"})["secret"]
    server.json("POST", "/api/v1/apply", {"resources": [
        {"apiVersion": "keel/v1", "kind": "RoleBinding", "metadata": {"name": name}, "spec": spec | {"tokens": [name]}}]})
    return token


@pytest.fixture(scope="module")
def models(server):
    """Models in the role and outside it, and a token whose role is that of an owner, over the first alone."""
    made = {name: worlds.make(server, "default", name) for name in ("fraud", "fraud-own", "other")}
    return bind(server, "keeper", {"role": "owner", "kinds": ["Model"], "names": ["fraud-*"]}), made


def names_a_model(request):
    return "model" in request.things and request.route.path.split("/mlflow/")[-1].startswith(
        ("registered-models/", "model-versions/", "/api/v1/models", "/model-versions/", "/console/models/"))


def problem_of(server, token, names, expected):
    """Says when an answer is not the expected one: `allowed`, `refused`."""
    def problem(request):
        answer = server.put(request, names, token)
        if expected == "refused":
            # What no caller is served tells nobody anything.
            wrong = not walking.is_refusal(answer, request.route) and answer.status != 501
        else:
            wrong = answer.status in (401, 403) or answer.status >= 500
        return wrong and f"{request} is not {expected}: {answer.status} {answer.text[:300]}"
    return problem


def test_a_role_over_some_models_gives_these_and_no_others(server, models):
    token, made = models
    own = made["fraud-own"]
    asked = [request for request in walking.requests(walking.routes(server)) if names_a_model(request)]
    lists = [request for request in asked if (request.route.method, request.route.key) in LISTS]
    single = [request for request in asked if request not in lists]
    assert len(single) > 60 and len(lists) == 5
    covered = [request for request in single if (request.route.method, request.route.path) not in MORE]
    nothing = walking.nowhere("zephyr")
    problems = walking.problems(single, problem_of(server, token, walking.with_own(nothing | made["other"], own), "refused"))
    # What is not there is refused alike: whether it is there is none of the caller's business.
    problems += walking.problems(single, problem_of(server, token, walking.with_own(nothing, own), "refused"))
    problems += walking.problems([r for r in single if r not in covered], problem_of(server, token, walking.with_own(nothing | made["fraud"], own), "refused"))
    problems += walking.problems(covered, problem_of(server, token, walking.with_own(nothing | made["fraud"], own), "allowed"))
    assert not problems, "\n".join(problems)


def test_lists_show_what_a_role_covers(server, models):
    token, made = models
    # The walk of another test may have removed or renamed one of them.
    for name in ("fraud-list", "other-list"):
        server.json("POST", MLFLOW + "registered-models/create", {"name": name})
        server.json("POST", MLFLOW + "model-versions/create", {"name": name, "source": "s3://bucket/x"})
    for (method, path), names in LISTS.items():
        for query in ("", "?max_results=100" if "mlflow" in path else "?limit=100"):
            shown = names(server.json(method, path + query, token=token))
            assert "fraud-list" in shown and all(name.startswith("fraud-") for name in shown), (path, shown)
        assert {"fraud-list", "other-list"} <= set(names(server.json(method, path))), path
        filtered = server.json(method, path + "?filter=name%3D'other-list'", token=token)
        assert names(filtered) == [], path
    page = server.ask("GET", "/console/models?limit=200", token=token)
    shown = re.findall(r'href="/console/models/([^"/?]+)"', page.text)
    assert page.status == 200 and "fraud-list" in shown and all(name.startswith("fraud-") for name in shown), page
    for method, path in PAGES:
        page = server.ask(method, path, token=token)
        assert page.status == 200 and "other-" not in page.text, (path, page)
    page = server.ask("GET", "/console/endpoints", token=token)
    assert "href=\"/console/endpoints/" not in page.text, page


def test_what_names_nothing_of_its_own_refuses_a_role_over_some_models(server, models):
    token, made = models
    names = walking.with_own(walking.nowhere("zephyr") | made["other"], made["fraud-own"])
    free = walking.OPEN | walking.ANYONE | set(LISTS) | set(OTHER_LISTS) | set(SERVING_LISTS) | ABLE | PAGES | {SOLE, QUERY}
    every = walking.requests(walking.routes(server))
    asked = [request for request in every if not request.things & {"model", "my_model"} and (request.route.method, request.route.key) not in free]
    # A resource outside the role is as one that is not there.
    resources = [request for request in asked if request.route.path.startswith(("/api/v1/resources/", "/console/lineage/"))]
    nothing = walking.with_own(walking.nowhere("zephyr"), made["fraud-own"])

    def told(request):
        there, none = (server.put(request, each, token) for each in (names, nothing))
        texts = [answer.text.replace("other-", "").replace("zephyr-", "") for answer in (there, none)]
        return (there.status not in (403, 404) or there.status != none.status or texts[0] != texts[1]) and f"{request}: {there} and {none}"

    assert len(asked) > 500 and len(resources) > 10
    assert sum(server.put(request, names).status != 501 for request in asked if request.route.method == "GET") > 70
    problems = walking.problems([request for request in asked if request not in resources], problem_of(server, token, names, "refused"))
    problems += walking.problems(resources, told)
    assert not problems, "\n".join(problems)


def test_lists_of_other_things_show_none_to_a_role_over_some_models(server, models):
    token, _ = models
    for request in walking.requests(walking.routes(server)):
        asked = request.route.method, request.route.path
        shown = (OTHER_LISTS | SERVING_LISTS).get(asked)
        if shown:
            assert asked in SERVING_LISTS or shown(json.loads(server.put(request, {}).text)), f"{request} shows something to who may see it"
            answer = server.put(request, {}, token)
            assert walking.is_refusal(answer, request.route) or shown(json.loads(answer.text)) == [], (request, answer)
    sole = server.ask(*SOLE, {"dataframe_records": []}, token)
    assert sole.status == 403 or sole.status == 400 and "0 endpoints" in sole.text and "endpoint'" not in sole.text, sole
    query = server.ask(*QUERY, {"sql": "SELECT * FROM delay"}, token)
    assert query.status == 404 and "there are: none" in query.text, query


DELAY = (worlds.DATA + "---" + worlds.SERVING).replace("$name-endpoint", "delay").replace("$name-monitor", "delay")


@pytest.fixture(scope="module")
def staging(server):
    """An endpoint with a monitor in staging and in production, and a token whose role is for staging alone."""
    for environment in ("production", "staging"):
        server.json("POST", "/api/v1/apply", worlds.resources(DELAY.replace("production", environment), name="delay"))
    listed = server.json("GET", "/api/v1/endpoints")["endpoints"]
    assert {each["environment"] for each in listed if each["name"] == "delay"} == {"production", "staging"}
    token = bind(server, "stager", {"role": "ml-engineer", "environments": ["staging"]})
    # A model is in no environment: who releases one must be given it besides.
    server.json("POST", "/api/v1/apply", {"resources": [
        {"apiVersion": "keel/v1", "kind": "RoleBinding", "metadata": {"name": "stager-models"},
         "spec": {"role": "ml-engineer", "kinds": ["Model"], "tokens": ["stager"]}}]})
    return token


def test_a_role_for_staging_gives_what_is_in_staging_and_nothing_in_production(server, staging):
    named = [request for request in walking.requests(walking.routes(server))
             if request.things & {"endpoint", "monitor"} and (request.route.method, request.route.path) not in walking.ANYONE
             # The role has no right to this anywhere.
             and '"force": true' not in (request.body or "")]
    assert len(named) > 15
    nothing = walking.nowhere("zephyr")
    names = {place: walking.with_own(nothing | {"endpoint": "delay" + place, "monitor": "delay" + place}, nothing | {"endpoint": "delay@staging"})
             for place in ("", "@production", "@staging")}
    # A resource is named with or without its environment, and one outside the role is as one that is not there.
    resources = [request for request in named if request.route.path.startswith("/api/v1/resources/")]
    missing = nothing | {"endpoint": "zephyr@production", "monitor": "zephyr@production"}

    def told(request):
        there, none = (server.put(request, each, staging) for each in (names["@production"], missing))
        # What the role covers may be hinted at.
        text = re.sub(r',"hint":"there is \w+/delay@staging"', "", there.text).replace("delay", "zephyr")
        same = (there.status, text) == (none.status, none.text) and there.status in (400, 403, 404)
        bare = server.put(request, names[""], staging)
        return not (same and "production" not in bare.text) and f"{request}: {there}, {none} for one that is not there, and {bare} without environment"

    assert len(resources) >= 6
    problems = walking.problems(resources, told) + walking.problems(resources, problem_of(server, staging, names["@staging"], "allowed"))
    named = [request for request in named if request not in resources]
    problems += walking.problems(named, problem_of(server, staging, names[""], "refused"))
    problems += walking.problems(named, problem_of(server, staging, names["@production"], "refused"))
    problems += walking.problems(named, problem_of(server, staging, names["@staging"], "allowed"))
    assert not problems, "\n".join(problems)
    shown = server.json("GET", "/api/v1/endpoints", token=staging)["endpoints"]
    assert {(each["name"], each["environment"]) for each in shown} == {("delay", "staging")}

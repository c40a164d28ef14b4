"""The walk of every route of every API with every role: refused where docs/reference/permissions.md says so, and nowhere else."""
import re

import pytest

import walking
from servers import Keel

# MLflow's routes say their action nowhere but in the code. So it is said here again, from MLflow's protocol: what a path is about, and
# what reading and changing it takes. The first that matches counts.
MLFLOW = [
    (r"/api/2.0/mlflow/webhooks", "webhooks.manage", "webhooks.manage"),
    (r"/api/3.0/mlflow/workspaces", "workspaces.read", "workspaces.manage"),
    (r"/api/2.0/mlflow/(registered-models|model-versions)/", "registry.read", "registry.write"),
    (r"/api/2.0/mlflow/(experiments|runs|metrics|artifacts|logged-models|upload-artifact)", "tracking.read", "tracking.write"),
    (r"/api/2.0mlflow/experiments/search-datasets", "tracking.read", None),
    (r"/api/2.0/mlflow-artifacts/(artifacts|presigned|mpu/(create|complete|abort))", "tracking.read", "tracking.write"),
    (r"/api/3.0/mlflow/(datasets/|server-info$)", "tracking.read", "tracking.write"),
    (r"/(model-versions/)?get-artifact$", "tracking.read", None),
]
# The console's pages are not in the document either: what of them is shown and done takes what the same takes of the API.
CONSOLE = [
    (r"GET /console/endpoints/\{name\}/(predictions|scores)", "predictions.read"), (r"(GET|POST) /console/endpoints/\{name\}/try", "predictions.create"),
    (r"GET /console/endpoints", "releases.read"), (r"POST /console/endpoints", "releases.deploy"), (r"POST /console/models/.*/approve", "models.approve"),
    (r"GET /console/models", "registry.read"), (r"POST /console/models", "registry.write"), (r"(GET|POST) /console/ledger", "ledger.read"),
    (r"GET /console/(experiments|runs|compare)", "tracking.read"), (r"POST /console/(experiments|runs)", "tracking.write"), (r"GET /console/monitors", "monitors.read"),
    (r"GET /console/(pipelines|pipeline-runs|triggers)", "pipelines.read"), (r"POST /console/(pipelines|pipeline-runs|triggers)", "pipelines.run"),
    (r"GET /console/datasets", "datasets.read"), (r"(GET|POST) /console/(features|feature-services)", "features.read"),
    (r"GET /console/lineage", "resources.read"),
]
# They ask with POST because what they ask is long.
READING = ("search", "search-datasets", "get-latest-versions", "presigned-download-url")
# What some requests take besides their route's action, because of what they ask: an action, or a role.
BESIDES = [(r"(POST|PUT|DELETE) .*(\"alias\": \"champion\"|/aliases/champion)", "releases.deploy"),
           (r"POST /api/v1/tokens .*acts_for", "owner"),
           (r"GET /api/v1/access/explain\?who=", "access.manage"), (r"POST /api/v1/apply .*\"kind\": \"Role", "access.manage"),
           (r"GET /api/v1/ledger\?all=true", "ledger.audit"), (r"POST /api/v1/endpoints/\$endpoint/releases .*\"force\": true", "releases.force")]
ROLES = ["owner", "data-scientist", "ml-engineer", "platform-engineer", "risk-officer", "service", "member"]


@pytest.fixture(scope="module")
def server():
    keel = Keel(environment={"KEEL_AUTH_REFUSALS": "1000000"}).start()
    yield walking.Server(keel)
    keel.stop()


def needed(route, stated, missing):
    """The action that a route takes, or nothing when neither the document nor the table above names it."""
    if route in stated:
        return stated[route]
    for pattern, action in CONSOLE:
        if re.match(pattern, re.sub(r":(\w+)", r"{\1}", str(route))):
            return action
    if {(route.method, route.shape), (route.method, walking.shape(route.key))} & missing:
        return "tracking.read"
    for pattern, read, write in MLFLOW:
        if re.match(pattern, route.key):
            return read if route.method == "GET" or route.path.rsplit("/", 1)[1] in READING else write
    return None


@pytest.fixture(scope="module")
def walk(server):
    """Each request, and the actions that it takes."""
    listed, stated, missing = walking.routes(server), walking.actions(server), walking.unserved()
    free = walking.OPEN | walking.ANYONE
    taken = {route: needed(route, stated, missing) for route in listed if (route.method, route.path) not in free}
    nameless = [str(route) for route, action in taken.items() if action is None]
    assert not nameless, f"give these routes an action, in the API's document or in the table of this test: {nameless}"
    return {request: {taken[request.route]} | {action for pattern, action in BESIDES if re.match(pattern, str(request))}
            for request in walking.requests(listed) if request.route in taken}


def test_the_walk_is_whole(server, walk):
    table = walking.permissions()
    assert set(table) == {*ROLES, "system"}
    # Every action is some request's, so that a line of the table without effect is found.
    assert set.union(*walk.values()) == table["owner"] | {"owner"}
    named = {(route.method, route.path) for route in walking.routes(server)}
    assert walking.OPEN | walking.ANYONE <= named and len(named) > 600


@pytest.mark.parametrize("role", ROLES)
def test_a_role_is_refused_where_the_table_says_so_and_nowhere_else(server, walk, role):
    may = walking.permissions()[role] | {role}
    token = server.json("POST", "/api/v1/tokens", {"name": f"walk-{role}", "persona": role})["secret"]
    nothing = walking.nowhere(role)
    names = walking.with_own(nothing, nothing | {"token": f"walk-{role}"})

    def problem(request):
        taken = walk[request]
        answer = server.put(request, names, token)
        if taken <= may:
            wrong = answer.status in (401, 403) or answer.status >= 500 and answer.status != 501
        else:
            wrong = not walking.is_refusal(answer, request.route)
        return wrong and f"{request} ({' and '.join(sorted(taken))}) answered {answer.status} to {role}: {answer.text[:200]}"

    problems = walking.problems(walk, problem)
    assert not problems, "\n".join(problems)


def test_routes_for_everyone_answer_a_caller_without_a_role(server):
    member = server.json("POST", "/api/v1/tokens", {"name": "without-role", "persona": "member"})["secret"]
    owner = server.json("POST", "/api/v1/tokens", {"name": "with-role", "persona": "owner"})["secret"]
    free = [request for request in walking.requests(walking.routes(server))
            if (request.route.method, request.route.path) in walking.OPEN | walking.ANYONE]
    pages = [request for request in free if request.route.path.startswith("/console")]
    assert (len(free), len(pages)) == (16, 8)
    for request in pages:
        # They name their reader; a form without fields changes nothing.
        assert server.put(request, walking.nowhere("x"), member).status == (415 if request.route.method == "POST" else 404 if "assets" in request.path else
                                                                            204 if "session" in request.path else 200), request
    for request in free:
        if request in pages:
            continue
        answers = [server.put(request, walking.nowhere("x"), token) for token in (member, owner)]
        assert answers[0] == answers[1] and answers[0].status != 403, request

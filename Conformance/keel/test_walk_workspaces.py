"""The walk of every route in the wrong workspace: it answers as for a workspace, an id or a name that is not there, and changes nothing."""
import os
import re
from dataclasses import dataclass

import pytest

import walking
import worlds
from receiver import LAPTOP
from servers import Keel

# What answers before it knows who asks.
UNASKED = walking.OPEN
# They answer for the server as a whole: to who may ask it, from `default` alone.
WHOLE = ("/metrics", "/api/v1/verify", "/api/v1/backup")
# Ids that cannot be guessed: where one stands in an answer, something of its workspace was read.
SECRET = ("run", "deleted_run", "logged", "evaluation", "record", "webhook", "upload", "pipeline_run", "offer")
# What is in one of the workspaces only is under a word that no other name there is like, so that no hint of a nearest name tells of it.
ONLY = {"default": "quartz", "fraud": "umbrella"}
# What is nowhere, by who asks for it.
NOTHING = {"default": "zephyr", "fraud": "walnut"}


@dataclass
class Side:
    """A workspace, and someone who may do everything in it and has no role in the other."""
    workspace: str
    token: str
    # By the name they were made under.
    worlds: dict


@pytest.fixture(scope="module")
def server():
    keel = Keel(environment={"KEEL_AUTH_REFUSALS": "1000000"} | LAPTOP).start()
    yield walking.Server(keel)
    keel.stop()


@pytest.fixture(scope="module")
def sides(server):
    server.json("POST", "/api/v1/workspaces", {"name": "fraud"})
    made = {}
    for workspace in ("default", "fraud"):
        content = {name: worlds.make(server, workspace, name) for name in ("same", ONLY[workspace], "mine-1", "mine-2")}
        for name in ("same", ONLY[workspace]):
            content[name]["prediction"] = worlds.predicted(server, workspace, name)
        # Not an owner: that of `default` is one everywhere. Who manages workspaces knows all of them.
        allowed = sorted(walking.permissions()["owner"] - {"workspaces.manage"})
        token = server.json("POST", "/api/v1/tokens", {"name": "everything-" + workspace, "persona": "member"}, workspace=workspace)["secret"]
        server.json("POST", "/api/v1/apply", worlds.resources("""
{apiVersion: keel/v1, kind: Role, metadata: {name: everything}, spec: {actions: $actions}}
---
{apiVersion: keel/v1, kind: RoleBinding, metadata: {name: everything}, spec: {role: everything, tokens: [everything-$workspace]}}
""", actions=str(allowed).replace("'", ""), workspace=workspace), workspace=workspace)
        made[workspace] = Side(workspace, token, content)
    return made


def without(names, things, text):
    """An answer without the names that were asked for, and without ids and times that are new in every answer."""
    text = re.sub("mine-[12]", "mine", text)
    for thing in sorted(names.keys() & things, key=lambda thing: -len(names[thing])):
        text = re.sub(rf"(?<!\w){re.escape(names[thing])}(?!\w)", f"<{thing}>", text)
    text = re.sub(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b|\b(m-|d-|dr-)?[0-9a-f]{32}\b|\b[0-9a-f]{64}\b", "<id>", text)
    text = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z|\b1\d{12}\b", "<time>", text)
    return re.sub(r'"(experiment_id|id|to)":"\d+"|"(ledger_seq|revision|digest)":("\w+"|\d+)|keel_[\w-]{43}', "<new>", text)


def changes(before, after):
    """What is not as it was, from where it differs."""
    found = []
    for place in before:
        was, now = str(before[place]), str(after[place])
        if was != now:
            at = max(0, len(os.path.commonprefix([was, now])) - 100)
            found.append(f"{place} was …{was[at:at + 250]} and is …{now[at:at + 250]}")
    return found


@pytest.mark.parametrize("mine,other", [("fraud", "default"), ("default", "fraud")])
def test_a_workspace_without_a_role_in_it_answers_as_one_that_is_not_there(server, sides, mine, other):
    caller, before = sides[mine], worlds.state(server, other, sides[other].worlds.values())
    names = walking.with_own(sides[other].worlds[ONLY[other]], sides[other].worlds["same"])

    def problem(request):
        names_here = {thing: "x" for thing in request.things} | names
        for field in ("Keel-Workspace", "X-MLFLOW-WORKSPACE"):
            there, nowhere = (server.put(request, names_here, caller.token, workspace, field) for workspace in (other, "nowhere-space"))
            texts = [re.sub(rf"\b({other}|nowhere-space)\b", "<workspace>", answer.text) for answer in (there, nowhere)]
            if (there.status, texts[0]) != (nowhere.status, texts[1]):
                return f"{request}, {field}: {there.status} {there.text[:200]} for {other}, and {nowhere.status} {nowhere.text[:200]} for none"
            if (request.route.method, request.route.path) not in UNASKED and (there.status, "permission_denied" in there.text.lower()) != (403, True):
                return f"{request}, {field}: {there.status} {there.text[:200]} is no refusal"
        return None

    problems = walking.problems(walking.requests(walking.routes(server)), problem)
    problems += changes(before, worlds.state(server, other, sides[other].worlds.values()))
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize("mine,other", [("fraud", "default"), ("default", "fraud")])
def test_the_same_names_are_ones_own_and_no_answer_tells_of_the_other_workspace(server, sides, mine, other):
    caller = sides[mine]
    own = caller.worlds["same"]
    names = walking.with_own(walking.nowhere(NOTHING[mine]) | own, own)
    secrets = [world[thing] for world in sides[other].worlds.values() for thing in SECRET if thing in world] + [ONLY[other]]
    assert len(secrets) > 20
    own_seen = set()

    def problem(request):
        answer = server.put(request, names, caller.token)
        own_seen.update(own[thing] for thing in SECRET if thing in own and own[thing] in answer.text)
        told = [secret for secret in secrets if secret in answer.text]
        places = [answer.text[max(0, answer.text.find(secret) - 150):][:300] for secret in told]
        return told and f"{request} of {mine} tells of {other}: {places}"

    reading = [request for request in walking.requests(walking.routes(server))
               if request.route.method == "GET" and request.route.path not in WHOLE and "all=true" not in request.query
               or "search" in request.route.path or request.route.path.endswith(("/check", "/fingerprints", "/digests"))]
    problems = walking.problems(reading, problem)
    assert not problems, "\n".join(problems)
    assert len(own_seen) >= 5, "the answers tell of what is one's own"
    if mine != "default":
        whole = [request for request in walking.requests(walking.routes(server)) if request.route.path in WHOLE or "all=true" in request.query]
        answers = {str(request): server.put(request, names, caller.token) for request in whole}
        assert len(answers) == 4 and {answer.status for answer in answers.values()} <= {403, 501}, answers


# What is unique on the server, so that whoever makes such a thing learns that the name is taken, and no more.
TAKEN = {
    ("POST", "/api/v1/tokens"): "the ledger names a token for ever: no two have one name",
    ("POST", "/api/v1/imports/tracking/runs"): "ids of runs are kept, and nobody can guess one",
    ("POST", "/api/v1/imports/tracking/logged-models"): "ids of logged models are kept, and nobody can guess one",
    ("POST", "/api/v1/imports/tracking/evaluation-datasets"): "ids of datasets are kept, and nobody can guess one",
}


@pytest.mark.parametrize("mine,other", [("fraud", "default"), ("default", "fraud")])
def test_names_and_ids_of_another_workspace_are_those_of_nothing(server, sides, mine, other):
    caller, before = sides[mine], worlds.state(server, other, sides[other].worlds.values())
    nothing, there = walking.nowhere(NOTHING[mine]), sides[other].worlds[ONLY[other]]
    # A folder of the same form.
    nothing["folder"] = re.sub(f"workspaces/{other}/", f"workspaces/{nothing['workspace']}/", there["folder"]).replace(
        f"{there['experiment']}/{there['run']}", f"{nothing['experiment']}/{nothing['run']}")
    theirs = walking.with_own(nothing | there, nothing | caller.worlds["mine-1"])
    nowhere = walking.with_own(nothing, nothing | caller.worlds["mine-2"])

    def problem(request):
        there, none = (server.put(request, names, caller.token) for names in (theirs, nowhere))
        texts = without(theirs, request.things, there.text), without(nowhere, request.things, none.text)
        if (request.route.method, request.route.path) in TAKEN and there.status == 400:
            return other in there.text.replace(theirs["token"], "") and f"{request}: {there.text[:300]}"
        if (there.status, texts[0]) != (none.status, texts[1]):
            return f"{request} of {mine}: {there.status} {there.text[:300]} for what {other} has, and {none.status} {none.text[:300]} for nothing"
        return None

    asked = [request for request in walking.requests(walking.routes(server)) if request.things]
    assert len(asked) > 400
    problems = walking.problems(asked, problem)
    # What a workspace collects is its own.
    assert server.ask("POST", "/api/v1/gc", {"older_than": "1s"}, caller.token).status == 200
    problems += changes(before, worlds.state(server, other, sides[other].worlds.values()))
    assert not problems, "\n".join(problems)


def test_an_offer_does_not_tell_whether_its_workspace_is_there(server, sides):
    caller = sides["fraud"]
    model = caller.worlds["same"]["model"]
    answers = [server.ask("POST", f"/api/v1/models/{model}/versions/1/offers", {"workspace": name}, caller.token) for name in ("default", "nowhere-space")]
    texts = [without({}, set(), answer.text).replace("default", "nowhere-space") for answer in answers]
    assert answers[0].status == answers[1].status == 201 and texts[0] == texts[1], answers


# What a workspace has under the names of the walk, and still answers that it has not: there is no such file, release, evidence or window.
EMPTY = {
    "/ajax-api/2.0/mlflow/logged-models/{model_id}/artifacts/files", "/model-versions/get-artifact", "/api/v1/models/{name}/versions/{version}/evidence",
    "/console/monitors/{name}/histogram.json",
}


@pytest.mark.parametrize("mine", ["default", "fraud"])
def test_what_the_walk_asks_for_is_there(server, sides, mine):
    """The names of the walk are names of things: where they exist nowhere, the walk would prove nothing."""
    own = sides[mine].worlds["same"]
    names = walking.with_own(walking.nowhere(NOTHING[mine]) | own, own)

    def problem(request):
        answer = server.put(request, names, sides[mine].token)
        return not 200 <= answer.status < 300 and f"{request}: {answer.status} {answer.text[:300]}"

    asked = [request for request in walking.requests(walking.routes(server))
             if request.route.method == "GET" and request.things and request.things <= own.keys() and request.route.path not in EMPTY
             and ("GET", walking.shape(request.route.key)) not in walking.unserved() and ("GET", request.route.shape) not in walking.unserved()]
    problems = walking.problems(asked, problem)
    assert not problems, "\n".join(problems)

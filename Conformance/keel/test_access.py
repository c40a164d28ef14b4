"""Who may call what: every route of the router, without a token and with too little permission."""
import re

import requests

from servers import Keel

# Routes that need no token, and why. A new one here is a decision.
OPEN = {("GET", "/health"): "load balancers ask it", ("GET", "/"): "says nothing but where the console is",
        ("GET", "/console/sign-in"): "whoever signs in has no session yet", ("POST", "/console/sign-in"): "takes a token, and only from its own page",
        ("GET", "/console/session"): "says whether there is a session, and nothing of it",
        ("GET", "/console/assets/{digest}/**"): "the same for everyone: styles and scripts"}
# Routes that every caller with a token may use.
ANYONE = {("GET", "/v2/health/live"), ("GET", "/v2/health/ready"), ("GET", "/v2/models/{name}/ready"),
          ("GET", "/v2/models/{name}/versions/{version}/ready"),
          # They show what their caller may see, which may be nothing.
          ("GET", "/console"), ("GET", "/console/search"), ("GET", "/console/events"), ("GET", "/console/workspaces"), ("POST", "/console/sign-out")}


def routes(server, token):
    answer = requests.get(server.url + "/api/v1/routes", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 200, answer.text
    return [(r["method"], r["path"]) for r in answer.json()]


def call(server, method, path, token=None):
    path = re.sub(r"\{[^}]*\}|:[a-zA-Z_]+|\*+", "x", path)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return requests.request(method, server.url + path, headers=headers, json={} if method != "GET" else None, timeout=30)


def test_every_route_refuses_a_caller_without_a_token(guarded):
    server, tokens = guarded
    listed = routes(server, tokens["owner"])
    assert len(listed) > 80
    for method, path in listed:
        if (method, path) in OPEN:
            continue
        answer = call(server, method, path)
        assert answer.status_code == 401, f"{method} {path} answered {answer.status_code} without a token: {answer.text[:200]}"
        assert call(server, method, path, "keel_wrong").status_code == 401


def test_a_program_of_a_pipeline_speaks_for_who_runs_it_and_no_longer_than_it_runs(guarded, tmp_path):
    server, tokens = guarded
    (tmp_path / "p.yaml").write_text("""
apiVersion: keel/v1
kind: Pipeline
metadata: { name: program }
spec:
  steps:
    - name: log
      uses: python
      with:
        code: |
          import json, os, urllib.error, urllib.request
          def call(path, body):
              request = urllib.request.Request(os.environ["MLFLOW_TRACKING_URI"] + path, json.dumps(body).encode(),
                  {"Authorization": "Bearer " + os.environ["MLFLOW_TRACKING_TOKEN"], "Content-Type": "application/json"})
              return json.load(urllib.request.urlopen(request))
          run = call("/api/2.0/mlflow/runs/create", {"experiment_id": "0", "start_time": 1})["run"]["info"]
          try:
              call("/api/v1/tokens", {"name": "mine", "persona": "owner"})
          except urllib.error.HTTPError as refused:
              code = refused.code
          json.dump({"run": run["run_id"], "refused": code, "token": os.environ["KEEL_TOKEN"]}, open(os.environ["KEEL_OUTPUT"], "w"))
""")
    server.cli("apply", tmp_path, token=tokens["owner"])
    run = server.json("run", "program", token=tokens["owner"])
    outputs = run["steps"][0]["outputs"]
    owner = {"Authorization": "Bearer " + tokens["owner"]}
    assert outputs["refused"] == 403
    assert server.get("/api/2.0/mlflow/runs/get", params={"run_id": outputs["run"]}, headers=owner).status_code == 200
    ended = {"Authorization": "Bearer " + outputs["token"]}
    assert server.get("/api/2.0/mlflow/runs/get", params={"run_id": outputs["run"]}, headers=ended).status_code == 401


def test_the_hot_routes_refuse_as_well(guarded):
    server, tokens = guarded
    assert call(server, "POST", "/v2/models/delay/infer").status_code == 401
    assert call(server, "POST", "/v2/models/delay/infer", tokens["risk-officer"]).status_code == 403
    assert call(server, "POST", "/v2/models/delay/infer", tokens["service"]).status_code in (400, 404)


def test_a_token_ends_on_connections_that_have_used_it(guarded):
    server, tokens = guarded
    owner = {"Authorization": "Bearer " + tokens["owner"]}
    made = requests.post(server.url + "/api/v1/tokens", json={"name": "brief", "persona": "service"}, headers=owner, timeout=30).json()
    with requests.Session() as session:
        session.headers["Authorization"] = "Bearer " + made["secret"]

        def ask(**headers):
            return session.post(server.url + "/v2/models/delay/infer", json={}, headers=headers, timeout=30).status_code

        assert [ask(), ask()] == [404, 404]
        assert ask(Authorization="Bearer " + tokens["risk-officer"]) == 403
        assert [ask(**{"Keel-Workspace": "elsewhere"}), ask()] == [403, 404]
        assert requests.delete(server.url + "/api/v1/tokens/brief", headers=owner, timeout=30).status_code == 200
        assert [ask(), ask()] == [401, 401]


def test_a_service_reaches_nothing_but_its_few_verbs(guarded):
    server, tokens = guarded
    allowed = []
    for method, path in routes(server, tokens["owner"]):
        if (method, path) in OPEN or (method, path) in ANYONE:
            continue
        if call(server, method, path, tokens["service"]).status_code not in (401, 403):
            allowed.append(path)
    for path in allowed:
        assert any(word in path for word in ["events", "features", "feature-services", "invocations", "labels", "/v1/models", "/v2", "predict", "/ping", "/console/endpoints/{name}/try"]), f"a service may call {path}"


def test_a_risk_officer_changes_nothing(guarded):
    server, tokens = guarded
    for method, path in routes(server, tokens["owner"]):
        if method == "GET" or "search" in path or path in ("/api/v1/plan", "/api/v1/verify") or "get-latest" in path:
            continue
        answer = call(server, method, path, tokens["risk-officer"])
        # A body that is refused before the permission is asked changes nothing either.
        assert answer.status_code >= 400, f"{method} {path} answered {answer.status_code} to a risk officer: {answer.text[:200]}"


def test_denials_are_in_the_ledger_and_secrets_are_nowhere(guarded):
    server, tokens = guarded
    call(server, "POST", "/api/v1/endpoints/x/promote", tokens["service"])
    denied = server.json("ledger", "--kind", "access.denied", token=tokens["owner"])["events"]
    assert denied and all("keel_" not in str(e) for e in denied)
    import pathlib
    for file in pathlib.Path(server.home).rglob("*"):
        if file.is_file():
            content = file.read_bytes()
            for secret in tokens.values():
                assert secret.encode() not in content, f"a secret is in {file}"


def test_a_platform_engineer_makes_no_owner(guarded):
    server, tokens = guarded
    answer = requests.post(server.url + "/api/v1/tokens", json={"name": "me", "persona": "owner"},
                           headers={"Authorization": f"Bearer {tokens['platform-engineer']}"})
    assert answer.status_code == 403


def test_foreign_hosts_and_origins_are_refused(shared_keel):
    for headers in [{"Host": "evil.example"}, {"Host": "evil.example:7070"}, {"Origin": "http://evil.example"}]:
        assert shared_keel.get("/api/v1/endpoints", headers=headers).status_code == 403
        assert shared_keel.post("/v2/models/x/infer", {}, headers=headers).status_code == 403
    assert shared_keel.get("/api/v1/endpoints", headers={"Origin": shared_keel.url}).status_code == 200


def test_no_start_on_an_open_address_without_tokens(tmp_path):
    import subprocess
    from servers import KEEL, free_port
    done = subprocess.run([str(KEEL), "serve", "--home", str(tmp_path), "--listen", f"0.0.0.0:{free_port()}"],
                          capture_output=True, text=True, timeout=30)
    assert done.returncode != 0 and "no token exists" in done.stderr


def test_mlflows_clients_bring_their_token_in_either_way_and_are_refused_in_mlflows_shape(guarded):
    server, tokens = guarded
    path = "/api/2.0/mlflow/experiments/search"
    for options in [{"headers": {"Authorization": f"Bearer {tokens['data-scientist']}"}}, {"auth": ("anything", tokens["data-scientist"])}]:
        assert requests.post(server.url + path, json={"max_results": 1}, **options).status_code == 200
    for options, status, code in [({}, 401, "UNAUTHENTICATED"), ({"auth": ("anything", "wrong")}, 401, "UNAUTHENTICATED"),
                                  ({"auth": ("x", tokens["service"])}, 403, "PERMISSION_DENIED"), ({"headers": {"Host": "evil.example"}}, 403, "PERMISSION_DENIED")]:
        for prefix in ["", "/ajax-api/3.0/mlflow/nothing?"]:
            if prefix and status == 403 and "auth" in options:
                continue
            answer = requests.post(server.url + (prefix or path), json={"max_results": 1}, **options)
            assert (answer.status_code, answer.json()["error_code"]) == (status, code), answer.text

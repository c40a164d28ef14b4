"""Every route of a server, with a request that names things in it: what the walks of test_walk*.py are made of."""
import http.client
import json
import pathlib
import re
import string
import threading
import uuid
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

ROOT = pathlib.Path(__file__).resolve().parents[2]
# Routes that are asked without a caller, or answered to every caller with a token, whatever its role.
OPEN = {("GET", "/health"), ("PUT", "/api/2.0/mlflow-artifacts/mpu/parts/{upload}/{part}"), ("GET", "/"), ("GET", "/console/sign-in"),
        ("POST", "/console/sign-in"), ("GET", "/console/session"), ("GET", "/console/assets/{digest}/**")}
ANYONE = {("GET", "/ping"), ("GET", "/v2/health/live"), ("GET", "/v2/health/ready"), ("GET", "/v2/models/{name}/ready"),
          ("GET", "/v2/models/{name}/versions/{version}/ready"),
          # Pages that show what their caller may see.
          ("GET", "/console"), ("GET", "/console/search"), ("GET", "/console/workspaces"), ("POST", "/console/sign-out")}
# Answers that do not end. They have tests of their own.
STREAMS = {("GET", "/console/events"), ("GET", "/console/runs/{id}/events"), ("GET", "/console/pipeline-runs/{id}/events")}


def nowhere(word):
    """Names that nothing has, in any workspace; other ones for another word."""
    number = zlib.crc32(word.encode())
    digits, experiment = f"01a2{number:028x}", str(10**6 + number % 10**6)
    names = {thing: f"{word}-{thing}" for thing in ("name", "model", "token", "card", "role", "binding", "workspace", "dataset", "service",
                                                    "pipeline", "trigger", "endpoint", "monitor", "prediction")}
    return names | {
        "experiment": experiment, "run": digits, "deleted_run": digits, "logged": "m-" + digits, "evaluation": "d-" + digits, "record": "dr-" + digits,
        "webhook": str(uuid.UUID(digits)), "pipeline_run": str(uuid.UUID(digits)), "offer": digits, "upload": digits,
        "folder": f"{experiment}/{digits}/artifacts"}


def with_own(names, own):
    """`$my_run` besides `$run`: what is the caller's own."""
    fresh = nowhere("fresh-" + own["name"])
    return names | {"my_" + thing: name for thing, name in own.items()} | {"new_token": fresh["token"], "new_run": fresh["run"]}


def shape(path):
    """A path without the names of its parameters, and what MLflow writes behind some."""
    return re.sub(r"\{[^}]*\}(:\w+)?|\*+", "{}", path)


@dataclass(frozen=True)
class Answer:
    status: int
    text: str


@dataclass(frozen=True)
class Route:
    method: str
    path: str

    @property
    def key(self):
        """The route without the prefix of MLflow's web page, whose routes are twins of those under /api."""
        return re.sub(r"^/ajax-api/", "/api/", self.path)

    @property
    def shape(self):
        return shape(self.path)

    def __str__(self):
        return f"{self.method} {self.path}"


@dataclass(frozen=True)
class Request:
    """A request of a route, with `$run` where the name of a run stands."""
    route: Route
    path: str
    query: str = ""
    body: str | None = None
    is_late: bool = False

    @property
    def things(self):
        """What it names: `run`, `model`."""
        return {name.strip("{}") for name in re.findall(r"\$(\w+|\{\w+\})", self.path + self.query + (self.body or ""))}

    def __str__(self):
        return f"{self.route.method} {self.path}{self.query} {self.body or ''}".strip()


class Server:
    """A server of `servers.py`, asked over connections that stay open: the walks make many thousand requests."""

    def __init__(self, keel):
        self.keel = keel
        self.local = threading.local()
        self.host = urlsplit(keel.url).netloc

    def ask(self, method, path, body=None, token=None, workspace=None, field="Keel-Workspace"):
        headers = {}
        if token:
            headers["Authorization"] = "Bearer " + token
        if workspace:
            headers[field] = workspace
        if body is not None and not isinstance(body, bytes):
            body, headers["Content-Type"] = (body if isinstance(body, str) else json.dumps(body)).encode(), "application/json"
        for attempt in range(2):
            connection = getattr(self.local, "connection", None)
            if connection is None:
                connection = self.local.connection = http.client.HTTPConnection(self.host, timeout=60)
            try:
                connection.request(method, path, body, headers)
                answer = connection.getresponse()
                return Answer(answer.status, answer.read().decode(errors="replace"))
            except (http.client.HTTPException, ConnectionError):
                # The server closes connections, also those that it has answered on.
                connection.close()
                self.local.connection = None
                if attempt:
                    raise

    def json(self, method, path, body=None, **options):
        answer = self.ask(method, path, body, **options)
        assert answer.status < 300, f"{method} {path}: {answer.status} {answer.text}"
        return json.loads(answer.text)

    def put(self, request, names, token=None, workspace=None, field="Keel-Workspace"):
        """Asks `request` with these names in it."""
        def filled(text, escape):
            return string.Template(text).substitute({name: escape(value) for name, value in names.items()})
        path = filled(request.path, lambda value: quote(value, safe="/@")) + filled(request.query, lambda value: quote(value, safe=""))
        body = request.body
        if body is not None:
            body = body.removeprefix("raw:").encode() if body.startswith("raw:") else filled(body, lambda value: json.dumps(value)[1:-1])
        elif request.route.method in ("POST", "PATCH", "PUT"):
            body = "{}"
        return self.ask(request.route.method, path.replace(" ", "%20"), body, token, workspace, field)


def routes(server, token=None):
    listed = {Route(r["method"], r["path"]) for r in server.json("GET", "/api/v1/routes", token=token)}
    # Answered before the router, and by it: both are documented.
    document = server.json("GET", "/openapi.json", token=token)
    listed |= {Route(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    return sorted((route for route in listed if (route.method, route.path) not in STREAMS), key=str)


def unserved():
    """The routes of MLflow that Keel does not serve, by docs/mlflow.md, as method and shape: whoever may read is told so."""
    rows = re.findall(r"^\| `(/[^`]*)` \| ([A-Z ]+) \| 501[^|]*\|$", (ROOT / "docs/mlflow.md").read_text(), re.M)
    return {(method, shape(path)) for path, methods in rows for method in methods.split()}


def requests(listed):
    """The requests of walk.txt for each route, in the order in which they are asked; what MLflow has and Keel does not takes any name."""
    given, out, used, missing = _given(), [], set(), unserved()
    for route in listed:
        found = next(((route.method, each) for each in (route.shape, shape(route.key)) if (route.method, each) in given), None)
        if found is None:
            assert {(route.method, route.shape), (route.method, shape(route.key))} & missing, f"{route} is asked for nothing: give it a line in walk.txt"
            path = re.sub(r"\{\w+\}|\*+", "$name", route.path)
            out.append(Request(route, path))
            continue
        used.add(found)
        for path, query, body, is_late in given[found]:
            prefix = "/ajax-api/" if route.path.startswith("/ajax-api/") else "/api/"
            out.append(Request(route, re.sub("^/(ajax-)?api/", prefix, path), query, body, is_late))
    assert set(given) <= used, f"walk.txt has requests of routes that are not there: {set(given) - used}"
    return sorted(out, key=lambda request: request.is_late)


def _given():
    given = {}
    for line in (ROOT / "Conformance/keel/walk.txt").read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        late, method, path, query, body = re.fullmatch(r"(! )?([A-Z]+) (\S+?)(?: (\?(?:[^ '{]|'[^']*')+))?(?: (\{.*|raw:.*))?", line).groups()
        given.setdefault((method, re.sub(r"<[^>]*>|\$\{\w+\}[\w-]*|\$\w+", "{}", path)), []).append((re.sub("[<>]", "", path), query or "", body, bool(late)))
    return given


def is_refusal(answer, route):
    """Whether a permission is missing, said in the form of errors of the route's API."""
    if answer.status != 403:
        return False
    said = json.loads(answer.text)
    if route.path.startswith(("/v2", "/v1/models")):
        return said.get("code") == "permission_denied" and isinstance(said["error"], str)
    keels = route.path.startswith(("/api/v1/", "/endpoints/", "/console")) or route.path in ("/invocations", "/metrics", "/version", "/openapi.json")
    return said.get("error", {}).get("code") == "permission_denied" if keels else said.get("error_code") == "PERMISSION_DENIED"


def actions(server, token=None):
    """What `/openapi.json` says that a route asks for."""
    document = server.json("GET", "/openapi.json", token=token)
    return {Route(method.upper(), path): said["x-keel-action"] for path, methods in document["paths"].items()
            for method, said in methods.items() if "x-keel-action" in said}


def permissions():
    """What docs/reference/permissions.md gives each role: {role: {action}}."""
    lines = [line.strip("|").split("|") for line in (ROOT / "docs/reference/permissions.md").read_text().splitlines() if line.startswith("|")]
    heads = [cell.strip() for cell in lines[0]]
    table = {role: set() for role in heads[2:]}
    for cells in lines[2:]:
        for role, cell in zip(heads[2:], cells[2:]):
            if cell.strip():
                table[role].add(cells[0].strip(" `"))
    return table


def problems(requests, problem):
    """What `problem` says of requests, several at a time; of the late ones after the others, one after the other."""
    early = [request for request in requests if not request.is_late]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(problem, early))
    return [said for said in found + [problem(request) for request in requests if request.is_late] if said]

"""What `/openapi.json` says, and whether answers are as it says: no field less, and none more."""
import json
import re
from dataclasses import dataclass
from urllib.parse import quote

import jsonschema
import requests


def document(url, token=None):
    answer = requests.get(url + "/openapi.json", headers={"Authorization": f"Bearer {token}"} if token else {}, timeout=30)
    assert answer.status_code == 200, answer.text
    return answer.json()


def operations(described):
    return {(method.upper(), path): operation for path, methods in described["paths"].items() for method, operation in methods.items()}


@dataclass
class Call:
    method: str
    path: str
    # Of the path's parameters; a value with a `$` before it is what another call learnt under that name, here, in the query and in the body.
    names: dict
    body: object = None
    query: dict | None = None
    # The body when it is no JSON.
    raw: bytes | None = None
    # What is learnt from the answer: a name, and the field.
    learns: tuple | None = None
    # Another workspace than `default`.
    workspace: str | None = None


def call(method, path, body=None, query=None, raw=None, learns=None, workspace=None, **names):
    return Call(method, path, names, body, query, raw, learns, workspace)


def filled(value, known):
    if isinstance(value, str) and value.startswith("$"):
        return known[value[1:]]
    if isinstance(value, dict):
        return {key: filled(item, known) for key, item in value.items()}
    return [filled(item, known) for item in value] if isinstance(value, list) else value


def answers(url, calls, known):
    """Makes the calls one after the other, checks every answer and every body sent, and gives the last answer of each operation."""
    described, given = document(url), {}
    schemas = described["components"]["schemas"]
    for each in calls:
        said = described["paths"][each.path][each.method.lower()]
        where = re.sub(r"\{(\w+)\}", lambda m: quote(filled(each.names[m[1]], known), safe=""), each.path)
        body = filled(each.body, known)
        headers = {"Content-Type": "application/octet-stream"} if each.raw is not None else {}
        if each.workspace:
            headers["Keel-Workspace"] = filled(each.workspace, known)
        answer = requests.request(each.method, url + where, params=filled(each.query, known), json=body, data=each.raw, timeout=120, headers=headers)
        given[each.method, each.path] = check_answer(answer, f"{each.method} {where}", said, schemas)
        if body is not None:
            check(body, said["requestBody"]["content"]["application/json"]["schema"], schemas)
        if each.learns:
            known[each.learns[0]] = given[each.method, each.path][each.learns[1]]
    return given


def check_answer(answer, what, said, schemas):
    success = next(status for status in said["responses"] if status.startswith("2"))
    assert str(answer.status_code) == success, (what, answer.text)
    content = said["responses"][success].get("content")
    if content is None:
        assert answer.content == b"", what
        return None
    (kind, shape), = content.items()
    assert answer.headers["Content-Type"].split(";")[0] == kind, what
    if kind == "application/json":
        assert shape["schema"], f"{what}: the schema says nothing"
        check(answer.json(), shape["schema"], schemas)
        return answer.json()
    assert shape["schema"] == {"type": "string"} and answer.text, what
    return [json.loads(line) for line in answer.text.splitlines()] if kind == "application/x-ndjson" else answer.text


def closed(schema):
    """The schema without room for fields that it does not name."""
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {key: {k: closed(v) for k, v in value.items()} if key == "properties" else closed(value) for key, value in schema.items()}
    return inner | {"additionalProperties": False} if "properties" in schema else inner


formats = jsonschema.FormatChecker(formats=[])
formats.checks("date-time")(lambda text: not isinstance(text, str) or bool(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", text)))


def check(value, schema, named):
    whole = {"components": {"schemas": {name: closed(shape) for name, shape in named.items()}}} | closed(schema)
    jsonschema.Draft202012Validator(whole, format_checker=formats).validate(value)

"""`docs/mlflow.md` says route by route what is served; here it is compared with MLflow's routes and with Keel's answers."""
import pathlib
import re

import pytest
import requests

ROOT = pathlib.Path(__file__).resolve().parents[2]


def listed():
    """The routes of MLflow's server."""
    lines = (ROOT / "Conformance/mlflow/routes.txt").read_text().splitlines()
    return {(method, path) for path, *methods in (line.split() for line in lines if not line.startswith("#")) for method in methods}


def documented():
    """What the page says of each: `served`, with or without a difference, or `501`."""
    rows = re.findall(r"^\| `(/[^`]*)` \| ([A-Z ]+) \| (served|501)[^|]*\|$", (ROOT / "docs/mlflow.md").read_text(), re.M)
    return {(method, path): answer for path, methods, answer in rows for method in methods.split()}


DOCUMENTED = documented()


def test_the_page_lists_every_route_of_mlflow_and_no_other():
    assert set(DOCUMENTED) == listed()


def asked(method, path, url):
    path = re.sub(r"\{[^}]*\}", "nothing", path)
    return requests.request(method, url + path, json={} if method != "GET" else None, timeout=30)


def twins():
    return [(method, twin, answer) for (method, path), answer in sorted(DOCUMENTED.items())
            for twin in ([path, "/ajax-api" + path.removeprefix("/api")] if path.startswith("/api/") else [path])]


@pytest.mark.parametrize("method,path,answer", twins())
def test_a_route_answers_as_the_page_says(method, path, answer, url):
    said = asked(method, path, url)
    if answer == "501":
        assert said.status_code == 501 and said.json()["error_code"] == "NOT_IMPLEMENTED", said.text[:300]
    else:
        assert said.status_code not in (405, 501), said.text[:300]
        assert said.status_code != 404 or said.json()["error_code"] == "RESOURCE_DOES_NOT_EXIST", said.text[:300]

"""Names and files that were made to do harm are shown, and do nothing."""
import html
import os
import re
import time

import pytest
import requests

import parquet_files


def test_markup_in_names_is_text(window, filled):
    for page in ("run-hostile", "experiment-hostile", "experiments", "lineage"):
        window.open(filled.pages()[page])
        assert window.page.locator("img[src=x]").count() == 0
    window.open(f"/console/lineage?of=Run%2F{filled.names['hostile_run']}")
    assert window.page.locator("img[src=x]").count() == 0
    title = window.open(f"/console/runs/{filled.names['hostile_run']}").locator("h1").inner_text()
    # What turns the direction of reading is written as what it is.
    assert title.startswith("<img src=x") and "\\u{202e}" in title and "\u202e" not in title


def test_a_page_among_artifacts_runs_nothing(window, filled):
    page = window.open(filled.pages()["run-html"])
    frame = page.frame_locator("iframe.artifact")
    assert frame.locator("h1").inner_text() == "Hello"
    page.wait_for_timeout(300)
    inside = page.frames[1]
    assert inside.evaluate("document.title") != "owned" and page.url.endswith("evil.html")
    # Chromium says that it refused the script and the picture: that is what is wanted here, and the only complaint.
    assert window.complaints and not window.harm()
    window.complaints.clear()


def test_a_file_opened_by_itself_is_in_a_sandbox(window, filled):
    for path in ("evil.html", "plots/evil.svg"):
        url = f"{filled.keel.url}/console/runs/{filled.names['run']}/file?path={path}"
        policy = requests.get(url, timeout=10).headers["Content-Security-Policy"]
        assert policy.startswith("sandbox;") and "default-src 'none'" in policy and "script" not in policy
        window.page.goto(url)
        assert window.page.evaluate("document.title") != "owned"
    assert requests.get(f"{filled.keel.url}/console/runs/{filled.names['run']}/file?path=model.bin", timeout=10).headers["Content-Disposition"].startswith("attachment")
    window.complaints.clear()


def test_a_picture_that_is_a_program_is_a_picture(window, filled):
    page = window.open(filled.pages()["run-svg"])
    assert page.evaluate("document.querySelector('img.artifact').complete && document.querySelector('img.artifact').naturalWidth") == 80


def test_values_that_are_no_numbers_are_counted(window, filled):
    page = window.open(filled.pages()["run-odd"])
    page.wait_for_selector("figure.chart .odd")
    assert page.locator("figure.chart .odd").inner_text() == "3 values are not finite and not drawn."


def test_five_thousand_parameters_are_paged(window, filled):
    page = window.open(filled.pages()["run-hostile"])
    assert "5\u202f001" in page.locator("#params-head").inner_text()
    page.click("a:text-is('More parameters')")
    page.wait_for_url("**params=**")
    assert page.locator("th:has-text('p0199')").count() + page.locator("th:has-text('p0200')").count() >= 1


def memory(pid):
    return int(re.search(r"VmRSS:\s+(\d+)", open(f"/proc/{pid}/status").read())[1]) // 1024


def children(pid):
    return {int(name) for name in os.listdir("/proc") if name.isdigit() and f"PPid:\t{pid}\n" in status(name)}


def status(pid):
    try:
        return open(f"/proc/{pid}/status").read()
    except OSError:
        return ""


@pytest.fixture(scope="module")
def parquet_run(filled):
    info = filled.run(filled.names["experiment"], "files that lie")
    return info["run_id"], "/api/2.0/mlflow-artifacts/artifacts/" + info["artifact_uri"].removeprefix("mlflow-artifacts:/")


@pytest.mark.parametrize("name", parquet_files.FILES)
def test_a_parquet_file_that_lies_takes_little_and_is_explained(filled, parquet_run, name):
    run, folder = parquet_run
    content = parquet_files.FILES[name]()
    filled.put(f"{folder}/{name}.parquet", content)
    server = filled.keel.process.pid
    before, running = memory(server), children(server)
    began = time.monotonic()
    answer = requests.get(f"{filled.keel.url}/console/runs/{run}?tab=artifacts&file={name}.parquet", headers={"Accept": "text/html"}, timeout=30)
    took = time.monotonic() - began
    assert answer.status_code == 200, answer.text[:500]
    # 10 s for the file, and what a busy machine adds to the rest of the page.
    assert took < 20 and len(answer.content) < 100_000, (took, len(answer.content))
    problem = re.search(r"There is no preview: ([^<]+)</p>", answer.text)
    shown = 'aria-label="The first rows"' in answer.text
    assert shown != bool(problem), "neither rows nor why there are none"
    assert not problem or ("\n" not in problem[1] and len(html.unescape(problem[1])) < 600 and "/preview-" not in problem[1] and "the query" not in problem[1]), problem[1]
    # What can be read is: a bomb that is packed well is just zeros, and of ten thousand columns the first are shown.
    assert shown == (name in ("nested-100", "wide", "packed-page", "page-values")), problem and problem[1]
    assert name != "wide" or ("column_00059" in answer.text and "column_00060" not in answer.text and "Only the beginning is shown" in answer.text)
    # What it took was taken by a process that is gone.
    assert memory(server) - before < 200 and not children(server) - running

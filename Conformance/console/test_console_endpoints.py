"""What an endpoint did over time: counted by the server while it serves, not read from the log when a page is opened."""
import time

import pytest
import requests

MINUTE = 60_000


def chart(filled, name, **query):
    answer = requests.get(f"{filled.keel.url}/console/endpoints/buying/{name}.json", params=query, timeout=30)
    assert answer.status_code == 200, answer.text
    return answer.json()


def until(condition, seconds=20):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.2)
    return found


def series(shown):
    return {item["name"]: item for item in shown["series"]}


def total(item):
    return sum(value for _, value in item["data"])


def ask(filled, price, count=1):
    return filled.keel.post("/v2/models/buying/infer", {"inputs": [
        {"name": "user", "datatype": "BYTES", "shape": [count], "data": ["u1"] * count}, {"name": "at", "datatype": "BYTES", "shape": [count], "data": ["2024-01-22T23:30:00Z"] * count},
        {"name": "price", "datatype": "FP64", "shape": [count], "data": [price] * count}]})


def stable(filled):
    """The number of the release that serves: other tests deploy too."""
    releases = filled.ask("GET", "/api/v1/endpoints/buying/releases")["releases"]
    return next(release["number"] for release in releases if release["state"] == "stable")


def traffic(filled):
    """What the release that serves answered, by minute."""
    return series(chart(filled, "history", of="traffic")).get(f"release {stable(filled)}", {"data": []})


@pytest.mark.parametrize("range, count", [("hour", 60), ("6h", 360), ("day", 1440)])
def test_every_minute_of_a_range_is_there(filled, range, count):
    assert ask(filled, 10.0).status_code == 200
    shown = chart(filled, "history", of="traffic", range=range)
    times = [at for at, _ in series(shown)[f"release {stable(filled)}"]["data"]]
    assert len(times) == count and all(later - at == MINUTE for at, later in zip(times, times[1:])) and shown["x"] == "time"
    assert 0 <= time.time() * 1000 - times[-1] < 2 * MINUTE
    assert total(traffic(filled)) >= 1


def test_requests_and_failures_are_counted(filled):
    def failed():
        return total(series(chart(filled, "history", of="traffic")).get("failed", {"data": []}))

    before, wrong = total(traffic(filled)), failed()
    assert ask(filled, 20.0).status_code == 200
    assert filled.keel.post("/v2/models/buying/infer", {"inputs": [{"name": "nothing", "datatype": "FP64", "shape": [1], "data": [1]}]}).status_code == 422
    until(lambda: total(traffic(filled)) >= before + 1 and failed() == wrong + 1)
    shown = series(chart(filled, "history", of="errors"))
    # What was wrong with the request is no failure of the release.
    assert set(shown) == {"all requests"}
    errors = [value for _, value in shown["all requests"]["data"] if value]
    assert errors
    assert all(0 < value <= 100 for value in errors)


def test_latency_is_told_by_stage(filled):
    assert ask(filled, 30.0).status_code == 200
    release = stable(filled)
    shown = series(chart(filled, "history", of="stages", release=release))
    assert {"decode", "features", "model", "encode", "log", "whole"} <= set(shown)
    for at, whole in shown["whole"]["data"]:
        parts = [value for name, item in shown.items() if name not in ("whole", "queue") for time, value in item["data"] if time == at]
        # Either a minute was asked, or nothing is known of it.
        assert (whole is None) == all(part is None for part in parts)
        assert whole is None or 0 < sum(parts) <= whole * 1.01
    scored = series(chart(filled, "history", of="latency"))
    assert set(scored) >= {f"release {release} p50", f"release {release} p99"}
    for (_, p50), (_, p99) in zip(scored[f"release {release} p50"]["data"], scored[f"release {release} p99"]["data"]):
        assert (p50 is None) == (p99 is None) and (p50 is None or 0 < p50 <= p99)


def test_scores_are_spread_as_they_were(filled):
    scores = [ask(filled, price).json()["outputs"][0]["data"][0] for price in (5.0, 95.0)]
    assert scores[0] != scores[1]
    shown = until(lambda: series(chart(filled, "scores-over-time")).get(f"release {stable(filled)}"))
    assert len(shown["band"]) == len(shown["data"]) == 60
    known = [(low, median, high) for (_, low, high), (_, median) in zip(shown["band"], shown["data"]) if median is not None]
    # Probabilities, and of a day with cheap and dear clicks not all the same.
    assert known and all(0 <= low <= median <= high <= 1 for low, median, high in known) and any(low < high for low, _, high in known)


def test_what_served_since_is_marked(filled):
    marks = chart(filled, "history", of="traffic")["marks"]
    assert marks[0]["label"] == "release 1 promoted" and all(mark["href"].startswith("/console/ledger/") for mark in marks)


@pytest.mark.parametrize("query, field", [({"range": "year"}, "range"), ({"of": "weather"}, "of"), ({"of": "stages", "release": "x"}, "release")])
def test_what_is_not_there_is_said(filled, query, field):
    answer = requests.get(f"{filled.keel.url}/console/endpoints/buying/history.json", params=query, timeout=30)
    assert answer.status_code == 400 and answer.json()["error"]["path"] == field


def test_scores_are_for_who_may_read_predictions(filled, roles):
    def status(name, persona):
        return requests.get(f"{filled.keel.url}/console/endpoints/buying/{name}.json", headers={"Authorization": f"Bearer {roles[persona]}"}, timeout=30).status_code
    assert status("history", "platform-engineer") == 200 and status("scores-over-time", "platform-engineer") == 403
    assert status("scores-over-time", "data-scientist") == 200 and status("history", "service") == 403
    page = requests.get(f"{filled.keel.url}/console/endpoints/buying", headers={"Authorization": f"Bearer {roles['platform-engineer']}", "Accept": "text/html"}, timeout=30).text
    assert "history.json" in page and "scores-over-time.json" not in page and "scores.json" not in page


def test_charts_are_drawn_and_their_numbers_are_a_table(window, filled):
    page = window.open("/console/endpoints/buying")
    section = page.locator("section[data-minute]")
    assert section.locator("figure.chart").count() == 6
    section.locator("figure.chart").last.scroll_into_view_if_needed()
    window.drawn()
    assert not window.failed_charts() and section.locator(".plot.nothing").count() == 0
    for figure in section.locator("figure.chart").all():
        figure.locator("summary").click()
        assert figure.locator("tbody tr").count() >= 1
        # A minute of which nothing is known is no value that could not be drawn.
        assert figure.locator(".odd").count() == 0 or figure.locator(".odd").inner_text() == ""
    page.click("nav[aria-label='How far back'] a:text-is('Last 6 hours')")
    page.wait_for_url("**range=6h")
    assert page.locator("nav[aria-label='How far back'] a[aria-current]").inner_text() == "Last 6 hours"


def test_a_minute_that_ended_is_fetched_once_by_charts_of_its_endpoint(window, filled):
    # The page hears of minutes from this test alone: its stream is never answered.
    window.page.route("**/console/events", lambda route: None)
    page = window.open("/console/endpoints/buying")
    asked = []
    page.on("request", lambda request: asked.append(request.url) if ".json" in request.url else None)

    def end(endpoint):
        page.evaluate("""endpoint => {
            const detail = { data: JSON.stringify({ endpoints: [endpoint] }) };
            document.querySelector("[data-minute]").dispatchEvent(new CustomEvent("sse:minute", { bubbles: true, detail }));
        }""", endpoint)
        page.wait_for_timeout(500)

    end("Endpoint/another")
    assert not asked
    end("Endpoint/buying")
    assert asked and len(asked) == len(set(asked)) and all("/endpoints/buying/" in url for url in asked)
    before = len(asked)
    # A page that is open asks nothing by itself.
    page.wait_for_timeout(2500)
    assert len(asked) == before


def test_open_pages_hear_of_minutes_in_which_something_happened(filled):
    with requests.get(filled.keel.url + "/console/events", stream=True, timeout=100) as answer:
        lines = answer.iter_lines(decode_unicode=True)
        assert next(lines).startswith("retry")
        ask(filled, 40.0)
        end = time.time() + 90
        for line in lines:
            if line == "event: minute" and '"Endpoint/buying"' in next(lines):
                return
            assert time.time() < end
    raise AssertionError("no minute was told")

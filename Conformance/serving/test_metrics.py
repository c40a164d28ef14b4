"""What /metrics says of inference, as Prometheus' own parser reads it."""
import math

import requests
from prometheus_client.parser import text_string_to_metric_families

import bundles
import served
from servers import Keel

STAGES = ["decode", "features", "model", "encode", "log"]
TRITON = ["nv_inference_request_success", "nv_inference_request_failure", "nv_inference_count", "nv_inference_exec_count",
          "nv_inference_request_duration_us", "nv_inference_queue_duration_us", "nv_inference_compute_input_duration_us",
          "nv_inference_compute_infer_duration_us", "nv_inference_compute_output_duration_us"]


def scrape(keel, **options):
    """The samples by name, with their labels; histograms are checked for what makes them histograms."""
    text = keel.get("/metrics", **options).text
    families = {f.name: f for f in text_string_to_metric_families(text)}
    samples = {}
    for family in families.values():
        seen = set()
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in seen, f"{key} is there twice"
            seen.add(key)
            # The parser gives every counter the ending of OpenMetrics, which Triton's do not have.
            name = sample.name if sample.name + "{" in text or sample.name + " " in text else sample.name.removesuffix("_total")
            samples.setdefault(name, []).append((sample.labels, sample.value))
    for family in families.values():
        if family.type == "histogram":
            check_histogram(family)
    return samples


def check_histogram(family):
    series = {}
    for sample in family.samples:
        labels = {k: v for k, v in sample.labels.items() if k != "le"}
        one = series.setdefault(tuple(sorted(labels.items())), {"buckets": []})
        if sample.name.endswith("_bucket"):
            one["buckets"].append((float(sample.labels["le"]), sample.value))
        else:
            one[sample.name.removeprefix(family.name)] = sample.value
    for labels, one in series.items():
        bounds, counts = zip(*one["buckets"])
        assert list(bounds) == sorted(set(bounds)) and bounds[-1] == math.inf, labels
        assert list(counts) == sorted(counts) and counts[-1] == one["_count"], labels
        # No request is in a bucket that its sum rules out.
        lower = sum((n - m) * b for n, m, b in zip(counts[1:], counts, bounds))
        assert lower <= one["_sum"] + 1e-9, labels


def values(samples, name, **labels):
    return [value for found, value in samples.get(name, []) if labels.items() <= found.items()]


def test_answers_are_counted_in_histograms_by_stage(tmp_path):
    keel = Keel().start()
    try:
        served.serve(keel, tmp_path, "stump", bundles.stump(), "xgboost", served.ONE)
        served.serve_slow(keel, tmp_path)
        for _ in range(20):
            assert keel.post("/v2/models/stump/infer", bundles.question([1.0, 0.0])).status_code == 200
        assert keel.post("/v2/models/stump/infer", bundles.question([1.0], name="y")).status_code == 422
        assert keel.post("/v2/models/slow/infer", bundles.question([300000.0], datatype="FP32")).status_code == 200
        samples = scrape(keel)
        of = {"endpoint": "stump", "environment": "production", "workspace": "default", "release": "1", "role": "stable"}
        assert values(samples, "keel_inference_duration_seconds_count", **of) == [20]
        for stage in STAGES:
            assert values(samples, "keel_inference_stage_duration_seconds_count", stage=stage, **of) == [20], stage
        whole, = values(samples, "keel_inference_duration_seconds_sum", **of)
        parts = values(samples, "keel_inference_stage_duration_seconds_sum", **of)
        assert 0.5 * whole < sum(parts) <= whole * 1.001
        # One model runs on the event loop, the other waits for a thread.
        assert values(samples, "keel_inference_stage_duration_seconds_count", stage="queue", endpoint="stump") == []
        assert values(samples, "keel_inference_stage_duration_seconds_count", stage="queue", endpoint="slow") == [1]
        slow = {found["stage"]: value for found, value in samples["keel_inference_stage_duration_seconds_sum"] if found["endpoint"] == "slow"}
        assert slow["model"] > 0.02 and slow["model"] > 0.8 * sum(slow.values())
        assert values(samples, "keel_inference_failed_requests_total", endpoint="stump", reason="contract_violation") == [1]
        assert values(samples, "keel_inference_in_flight", endpoint="stump") == [0]
    finally:
        keel.stop()


def test_the_names_of_triton(tmp_path):
    keel = Keel().start()
    try:
        served.serve(keel, tmp_path, "stump", bundles.stump(), "xgboost", served.ONE)
        for rows in (1, 2, 3):
            keel.post("/v2/models/stump/infer", bundles.question([1.0] * rows))
        keel.post("/v2/models/stump/infer", bundles.question([1.0], name="y"))
        # Another release of the same version is no second series: it answers as the candidate of all traffic.
        served.put_bundle(keel, tmp_path, "stump", bundles.stump(low=0.1), "xgboost", served.ONE)
        for version in (2, 1):
            assert bundles.release(keel, "stump", version).status_code == 200
        assert keel.get("/v2/models/stump").json()["versions"] == ["1"]
        for _ in range(4):
            keel.post("/v2/models/stump/infer", bundles.question([1.0]))
        samples = scrape(keel)
        found = {name: samples[name] for name in TRITON}
        assert all([labels for labels, _ in of] == [{"model": "stump", "version": "1"}] for of in found.values())
        number = {name: of[0][1] for name, of in found.items()}
        assert [number[n] for n in TRITON[:4]] == [7, 1, 10, 7]
        parts = sum(number[n] for n in TRITON[5:])
        assert 0 < number["nv_inference_compute_infer_duration_us"] < parts <= number["nv_inference_request_duration_us"] * 1.001
        statistics = keel.get("/v2/models/stump/stats").json()["model_stats"]
        assert sum(m["inference_stats"]["success"]["ns"] for m in statistics) / 1e3 == number["nv_inference_request_duration_us"]
    finally:
        keel.stop()


def test_the_series_of_an_endpoint_go_with_it(tmp_path):
    keel = Keel().start()
    try:
        served.serve(keel, tmp_path, "stump", bundles.stump(), "xgboost", served.ONE)
        served.serve(keel, tmp_path, "other", bundles.stump(), "xgboost", served.ONE)
        for name in ("stump", "other"):
            keel.post(f"/v2/models/{name}/infer", bundles.question([1.0]))
        before = keel.get("/metrics").text
        assert 'endpoint="stump"' in before and 'model="stump"' in before
        lines = len(before.splitlines())
        # A release after the other does not make more of them.
        served.put_bundle(keel, tmp_path, "other", bundles.stump(low=0.1), "xgboost", served.ONE)
        for version in (2, 1, 2, 1):
            assert bundles.release(keel, "other", version).status_code == 200
        keel.cli("delete", "endpoint", "stump", "--cascade", "--yes")
        after = keel.get("/metrics").text
        assert "stump" not in after and 'model="other"' in after
        assert len(after.splitlines()) < lines + 250
    finally:
        keel.stop()


def test_metrics_are_of_the_workspaces_that_a_caller_may_see(guarded):
    keel, tokens = guarded
    answer = requests.get(keel.url + "/metrics", timeout=10)
    assert answer.status_code == 401
    assert scrape(keel, headers={"Authorization": "Bearer " + tokens["owner"]})["keel_connections"]

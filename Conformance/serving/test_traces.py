"""Traces of requests, as a collector gets them over OTLP/HTTP; decoded by OpenTelemetry's own messages."""
import http.server
import threading
import time

import numpy
import pytest
import requests
import tritonclient.grpc as triton_grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

import bundles
import served
from servers import Keel, free_port

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
STAGES = ["decode", "features", "model", "encode", "log"]


class Collector:
    """Takes what is posted to it, as an OTLP receiver does; `answers` are the statuses that it gives before it takes anything."""

    def __init__(self, answers=(), delay=0):
        self.requests, self.headers, self.refused = [], [], 0
        collector, statuses = self, list(answers)

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                time.sleep(delay)
                status = statuses.pop(0) if statuses else 200
                if status == 200:
                    collector.headers.append((self.path, dict(self.headers)))
                    collector.requests.append(ExportTraceServiceRequest.FromString(body))
                else:
                    collector.refused += 1
                answer = ExportTraceServiceResponse().SerializeToString()
                self.send_response(status)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def spans(self):
        return [span for request in self.requests for resource in request.resource_spans for scope in resource.scope_spans for span in scope.spans]

    def wait(self, count, seconds=15):
        """The traces that have come, when there are that many: each is a request's span with those inside of it."""
        end = time.time() + seconds
        while time.time() < end:
            spans = self.spans()
            roots = [s for s in spans if s.kind == Span.SPAN_KIND_SERVER]
            if len(roots) >= count:
                return [(root, [s for s in spans if s.parent_span_id == root.span_id and s.trace_id == root.trace_id]) for root in roots]
            time.sleep(0.05)
        raise AssertionError(f"{len(self.spans())} spans came")

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def traced(collector, **more):
    return {"KEEL_TRACING_OTLP_ENDPOINT": collector if isinstance(collector, str) else collector.url, "KEEL_TRACING_OTLP_SCHEMES": "http",
            "KEEL_TRACING_OTLP_INTERNAL": "true"} | more


def attributes(of):
    return {a.key: getattr(a.value, a.value.WhichOneof("value")) for a in of.attributes}


def ask(keel, values=(1.0,), name="x", path="/v2/models/stump/infer", sampled=None, ids=None, body=None):
    headers = {} if sampled is None else {"traceparent": f"00-{TRACE}-{PARENT}-{sampled}"}
    return requests.post(keel.url + path, json=body or bundles.question(list(values), name=name, ids=ids), headers=headers, timeout=30)


@pytest.fixture(scope="module")
def collector():
    made = Collector()
    yield made
    made.close()


@pytest.fixture(scope="module")
def keel(collector, tmp_path_factory):
    folder = tmp_path_factory.mktemp("traces")
    environment = traced(collector, KEEL_TRACING_SAMPLING_RATIO="0", KEEL_TRACING_SERVICE="scores", KEEL_TRACING_OTLP_HEADERS="authorization=env:HUSH",
                         HUSH="Bearer of a secret")
    made = Keel(environment=environment).start()
    served.serve(made, folder, "stump", bundles.stump(), "xgboost", served.ONE)
    served.serve_slow(made, folder, limits="{ deadline: 500ms }")
    yield made
    made.stop()


@pytest.fixture(autouse=True)
def only_this_tests_traces(request):
    if "collector" in request.fixturenames:
        request.getfixturevalue("collector").requests.clear()


def test_a_request_is_a_span_with_its_stages_inside(keel, collector):
    before = time.time_ns()
    assert ask(keel, [1.0, 0.0], sampled="01", ids=["first", "second"]).status_code == 200
    after = time.time_ns()
    (root, stages), = collector.wait(1)
    assert root.trace_id.hex() == TRACE and root.parent_span_id.hex() == PARENT and root.name == "infer stump"
    assert root.flags == 0x301 and root.status.code == Status.STATUS_CODE_UNSET
    assert attributes(root) == {"keel.endpoint": "stump", "keel.workspace": "default", "keel.release": 1, "keel.model": "stump",
                                "keel.model.version": "1", "keel.rows": 2, "keel.prediction.id": "first"}
    assert [s.name for s in stages] == STAGES and all(s.kind == Span.SPAN_KIND_INTERNAL for s in stages)
    assert before - 1000 <= root.start_time_unix_nano < root.end_time_unix_nano <= after
    edges = [root.start_time_unix_nano] + [t for s in stages for t in (s.start_time_unix_nano, s.end_time_unix_nano)] + [root.end_time_unix_nano]
    assert edges == sorted(edges)
    ids = [s.span_id for s in stages] + [root.span_id]
    assert len(set(ids)) == len(ids) and all(len(i) == 8 for i in ids)
    resource, = collector.requests[0].resource_spans
    assert attributes(resource.resource) == {"service.name": "scores", "service.version": keel.get("/v2").json()["version"]}
    path, headers = collector.headers[-1]
    assert path == "/v1/traces" and headers["authorization"] == "Bearer of a secret" and headers["Content-Type"] == "application/x-protobuf"


def test_a_caller_that_does_not_record_its_trace_decides_for_both(keel, collector):
    for sampled in ("00", None):
        assert ask(keel, sampled=sampled).status_code == 200
    assert ask(keel, sampled="01", ids=["recorded"]).status_code == 200
    (root, _), = collector.wait(1)
    assert attributes(root)["keel.prediction.id"] == "recorded"
    time.sleep(1.5)
    assert len(collector.wait(1)) == 1


@pytest.mark.parametrize("path, body", [
    ("/v1/models/stump:predict", {"instances": [1.0]}), ("/endpoints/stump/invocations", {"inputs": [1.0]}),
    ("/api/v1/endpoints/stump/predict", {"rows": [{"x": 1.0}]}), ("/v2/models/stump/versions/1/infer", None)])
def test_every_protocol_over_http(keel, collector, path, body):
    assert ask(keel, path=path, body=body, sampled="01").status_code == 200
    (root, stages), = collector.wait(1)
    assert root.parent_span_id.hex() == PARENT and [s.name for s in stages] == STAGES


def test_grpc(keel, collector):
    client = triton_grpc.InferenceServerClient(f"127.0.0.1:{keel.port}")
    given = triton_grpc.InferInput("x", [1], "FP64")
    given.set_data_from_numpy(numpy.zeros(1))
    client.infer("stump", [given], headers={"traceparent": f"00-{TRACE}-{PARENT}-01"})
    (root, stages), = collector.wait(1)
    assert root.trace_id.hex() == TRACE and root.parent_span_id.hex() == PARENT and [s.name for s in stages] == STAGES


def test_failures_say_why_and_waiting_is_seen(keel, collector):
    assert ask(keel, name="y", sampled="01").status_code == 422
    assert ask(keel, path="/v2/models/none/infer", sampled="01").status_code == 404
    slow = bundles.question([1e9], datatype="FP32")
    assert ask(keel, path="/v2/models/slow/infer", body=slow, sampled="01").status_code == 504
    found = {root.name: (root, stages) for root, stages in collector.wait(3)}
    refused, stages = found["infer stump"]
    assert attributes(refused)["error.type"] == "contract_violation" and refused.status.code == Status.STATUS_CODE_UNSET
    assert [s.name for s in stages] == ["decode"]
    assert attributes(found["infer none"][0])["error.type"] == "not_found"
    late, stages = found["infer slow"]
    assert attributes(late)["error.type"] == "deadline_exceeded" and late.status.code == Status.STATUS_CODE_ERROR
    assert [s.name for s in stages] == ["decode", "features", "queue", "model"]
    assert stages[-1].end_time_unix_nano - stages[-1].start_time_unix_nano > 0.4e9


def test_a_large_request_waits_for_a_thread(keel, collector):
    assert ask(keel, [1.0] * 9000, sampled="01").status_code == 200
    (_, stages), = collector.wait(1)
    assert [s.name for s in stages].count("queue") >= 1 and stages[-1].name == "log"


def test_metrics_count_what_was_taken(keel, collector):
    import prometheus_client.parser as parser
    for _ in range(20):
        ask(keel, sampled="01")
    collector.wait(20)
    time.sleep(0.5)
    samples = {(s.name, s.labels.get("reason")): s.value for f in parser.text_string_to_metric_families(keel.get("/metrics").text) for s in f.samples}
    assert samples["keel_traces_exported_total", None] >= 20 and samples["keel_traces_queued", None] == 0
    assert samples["keel_traces_dropped_total", "queue_full"] == samples["keel_traces_dropped_total", "not_taken"] == 0


def test_a_share_of_the_requests_without_a_trace_begins_one(tmp_path):
    collector = Collector()
    keel = Keel(environment=traced(collector, KEEL_TRACING_SAMPLING_RATIO="25%")).start()
    try:
        served.serve(keel, tmp_path, "stump", bundles.stump(), "xgboost", served.ONE)
        session = requests.Session()
        for _ in range(400):
            assert session.post(keel.url + "/v2/models/stump/infer", json=bundles.question([1.0])).status_code == 200
        keel.stop()
        # Stopping sends what is left.
        traces = collector.wait(1)
        assert 57 <= len(traces) <= 143
        assert len({root.trace_id for root, _ in traces}) == len(traces) and all(not root.parent_span_id for root, _ in traces)
        assert all(root.flags == 0x101 for root, _ in traces)
        # No id of a span is one of another, or a part of a trace's.
        spans = collector.spans()
        assert len({s.span_id for s in spans} | {s.trace_id[i:i + 8] for s, _ in traces for i in (0, 8)}) == len(spans) + 2 * len(traces)
    finally:
        keel.stop()
        collector.close()


def test_a_collector_that_is_busy_gets_them_later_and_one_that_refuses_does_not(tmp_path):
    for answers, arrives in [([503, 429], True), ([400], False)]:
        collector = Collector(answers)
        keel = Keel(environment=traced(collector)).start()
        try:
            served.serve(keel, tmp_path, "stump", bundles.stump(), "xgboost", served.ONE)
            ask(keel, ids=["first"])
            end = time.time() + 10
            while collector.refused < len(answers) and time.time() < end:
                time.sleep(0.05)
            assert collector.refused == len(answers)
            if not arrives:
                ask(keel, ids=["second"])
            (root, _), = collector.wait(1)
            assert attributes(root)["keel.prediction.id"] == ("first" if arrives else "second")
            lost = 'keel_traces_dropped_total{reason="not_taken"} ' + ("0.0" if arrives else "1.0")
            assert lost in keel.get("/metrics").text
            assert ("traces are lost: the collector answered 400" in keel.log()) is not arrives
        finally:
            keel.stop()
            collector.close()


def test_a_collector_that_is_down_or_slow_holds_nobody_up(tmp_path):
    collector = Collector(delay=5)
    for url in (f"http://127.0.0.1:{free_port()}", collector.url):
        keel = Keel(environment=traced(url)).start()
        try:
            served.serve(keel, tmp_path, "stump", bundles.stump(), "xgboost", served.ONE)
            session, took = requests.Session(), []
            for _ in range(300):
                start = time.time()
                assert session.post(keel.url + "/v2/models/stump/infer", json=bundles.question([1.0])).status_code == 200
                took.append(time.time() - start)
            assert max(took) < 1 and sorted(took)[150] < 0.05
        finally:
            keel.stop()
    collector.close()


def test_an_address_or_header_that_cannot_be_meant_keeps_the_server_from_starting():
    for environment, words in [
        ({"KEEL_TRACING_OTLP_ENDPOINT": "http://127.0.0.1:4318"}, "tracing.otlp.schemes"),
        (traced("http://127.0.0.1:4318", KEEL_TRACING_OTLP_HEADERS="authorization=hush"), "authorization=env:VARIABLE"),
        (traced("http://127.0.0.1:4318", KEEL_TRACING_SAMPLING_RATIO="2"), "tracing.sampling.ratio"),
    ]:
        keel = Keel(environment=environment)
        with pytest.raises(AssertionError, match="keel ended"):
            keel.start()
        assert words in keel.log() and "hush" not in keel.log()

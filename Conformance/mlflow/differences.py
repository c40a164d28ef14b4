"""Where Keel answers otherwise than MLflow's server, and why. `docs/mlflow-differences.md` quotes this table."""
import re
from dataclasses import dataclass
from typing import Callable

from differential import Call


@dataclass
class Known:
    what: str
    why: str
    # Whether it explains the whole difference between two answers (status, body) to a call.
    explains: Callable | None = None
    # What it takes out of both answers before they are compared.
    forgets: Callable | None = None
    # Calls whose last answers differ in this way: (status of Keel, status of MLflow).
    example: list | None = None
    statuses: tuple | None = None


def code(answer):
    return answer[1].get("error_code") if isinstance(answer[1], dict) else None


def message(answer):
    return str(answer[1].get("message", "")) if isinstance(answer[1], dict) else ""


FAULTS = ["Missing value for", "Invalid value .* supplied:  Hint", "Invalid value .* Names may only", "Invalid value .* Names may be treated",
          "'.*' exceeds the maximum length", "Parameter 'version' must be", "Invalid alias name", "Version alias name|'latest' alias", "Invalid model name",
          "Invalid Model Version stage", "The (run|experiment) .* must be in the", "Registered Model .* not found", "Registered model alias .* not found",
          "Model Version .* not found", "Run with id=.* not found", "No Experiment with", "Logged model with", "Invalid experiment ID", "Duplicate parameter keys",
          "Invalid model version source", "Changing param values", "Both dataset_name", "A batch logging request", "No tag with", "Both 'run_name'", "Invalid value .* for parameter 'run_id' supplied", "Latest version not found",
          "Invalid value .* Timestamp must be a nonnegative",
          "max_results must be between", "Webhook name", "Webhook with ID", "Webhook URL|Invalid webhook URL", "Webhook events", "Invalid action",
          "Invalid value .* supplied: one of"]


def fault(answer):
    """Which of the faults that both servers know an answer names, and of which parameter."""
    named = re.search("parameter '([^']*)'", message(answer))
    return next(((i, named and named[1]) for i, pattern in enumerate(FAULTS) if re.match(pattern, message(answer), re.S)), None)


def without(*names, where=lambda value: True):
    """Forgets fields of objects, everywhere in an answer."""
    def forget(call, value):
        if isinstance(value, dict):
            return {k: forget(call, v) for k, v in value.items() if not (k in names and where(value))}
        return [forget(call, item) for item in value] if isinstance(value, list) else value
    return forget


def is_version(value):
    return "current_stage" in value


def in_lists_only(forget, paths):
    return lambda call, value: forget(call, value) if call.path in paths else value


def post(path, **fields):
    return Call("POST", path, fields)


def webhook(**fields):
    return Call("POST", "webhooks", {"name": "known", "url": "https://[2d00::1]/", "events": [MADE]} | fields, creates="webhook")


MADE = {"entity": "BUDGET_POLICY", "action": "EXCEEDED"}
RUN = Call("POST", "runs/create", {"experiment_id": "⟦experiment:0⟧", "start_time": 1, "user_id": "ann"}, creates="run")
MODEL = post("registered-models/create", name="{prefix}m")
VERSION = post("model-versions/create", name="{prefix}m", source="s3://bucket/model")
LOGGED = Call("POST", "logged-models", {"experiment_id": "⟦experiment:0⟧", "name": "model"}, creates="logged")

KNOWN = [
    Known("`error_class` and `sqlstate` of errors, `workspace` of experiments and models are absent",
          "MLflow derives them from `error_code`, and from the request's workspace; the client does the same when they are absent.",
          forgets=without("error_class", "sqlstate", "workspace")),
    Known("`user_id` of a model version is who registered it; MLflow's is empty", "The registry's history names who did what.",
          forgets=without("user_id", where=is_version)),
    Known("`model_id` of a model version is the logged model it was made from; MLflow's SQL store forgets it", "Lineage.",
          forgets=without("model_id", where=is_version)),
    Known("Tags that begin with `keel.` cannot be set or removed", "They are Keel's own: what it recorded cannot be edited ([0024](decisions/0024-evidence-is-keels-own-record.md)).",
          example=[RUN, post("runs/set-tag", run_id="⟦run:0⟧", key="keel.gate", value="passed")], statuses=(400, 200)),
    Known("Numbers of versions are not used again when a model is deleted and made anew, or another takes its name",
          "`models:/delay/3` means one version for ever; MLflow begins with 1 again.",
          example=[MODEL, VERSION, Call("DELETE", "registered-models/delete", {"name": "{prefix}m"}), MODEL, VERSION], statuses=(200, 200)),
    Known("What a release names cannot be deleted or renamed, nor its artifacts removed or replaced; the alias `champion` takes the permission to release",
          "What serves can be brought back ([0024](decisions/0024-evidence-is-keels-own-record.md))."),
    Known("The experiment `Default` cannot be deleted", "Runs without an experiment go there; MLflow deletes it, and its own client then fails until it is restored."),
    Known("Aliases are shown wherever a model version is", "MLflow leaves them out of searches and of a model's latest versions.",
          forgets=lambda call, value: value if call.path in ("model-versions/get", "registered-models/alias", "model-versions/update")
          else without("aliases", where=is_version)(call, value)),
    Known("`runs/search` shows the logged models that a run read", "MLflow shows them in `runs/get` only.",
          forgets=in_lists_only(without("model_inputs"), {"runs/search"})),
    Known("The cause of a refusal from the database is named", "MLflow passes the text of the SQL error on, with `BAD_REQUEST`.",
          explains=lambda call, k, m: "(sqlite3." in message(m) and 400 <= k[0] < 500,
          example=[post("experiments/update", experiment_id="⟦experiment:0⟧", new_name="Default")], statuses=(400, 400)),
    Known("Bad input is answered with 4xx", "Where MLflow ends with an unhandled error or `INTERNAL_ERROR`, 500 would make clients try again.",
          explains=lambda call, k, m: m[0] == 500 and 400 <= k[0] < 500,
          example=[post("runs/search", experiment_ids=["⟦experiment:0⟧"], order_by=["metrics.a", "metrics.a"])], statuses=(400, 500)),
    Known("The history of a metric of a run that does not exist is 404", "MLflow answers with an empty history.",
          explains=lambda call, k, m: call.path in ("metrics/get-history", "metrics/get-history-bulk-interval") and (k[0], m[0]) == (404, 200) and "not found" in message(k),
          example=[Call("GET", "metrics/get-history", {"run_id": "nope", "metric_key": "a"})], statuses=(404, 200)),
    Known("A run id that cannot be one is 404 in `log-batch` and `log-inputs` too", "It is just not found, as everywhere else.",
          explains=lambda call, k, m: call.path in ("runs/log-batch", "runs/log-inputs") and (k[0], m[0]) == (404, 400) and "for parameter 'run_id'" in message(m),
          example=[post("runs/log-batch", run_id="a/b")], statuses=(404, 400)),
    Known("A value of the wrong type is refused", "MLflow passes over some that protobuf cannot read, and over all fields after them.",
          explains=lambda call, k, m: k[0] == 400 and m[0] == 200 and (call.raw is not None or call.list and re.match("Invalid value .* for parameter '.*' supplied|Invalid experiment ID", message(k), re.S)),
          example=[RUN, post("runs/update", run_id="⟦run:0⟧", status="NOPE")], statuses=(400, 200)),
    Known("When a request has two faults, another of them may be named", "The order of checks is not the same everywhere.",
          explains=lambda call, k, m: {k[0], m[0]} <= {400, 404} and None not in {fault(k), fault(m)} and fault(k) != fault(m)),
    Known("A deleted logged model cannot be changed", "MLflow finalizes, tags and logs to it still.",
          explains=lambda call, k, m: call.path.startswith("logged-models/") and k[0] == 404 and message(k).startswith("Logged model with ID"),
          example=[LOGGED, Call("DELETE", "logged-models/⟦logged:0⟧", {}),
                   Call("PATCH", "logged-models/⟦logged:0⟧/tags", {"tags": [{"key": "a", "value": "b"}]})], statuses=(404, 200)),
    Known("An experiment's artifacts may be said to lie at any URI", "Keel's server opens no place but its own store; MLflow refuses hosts and fragments.",
          example=[post("experiments/create", name="{prefix}u", artifact_location="http://host/a#b")], statuses=(200, 400)),
    Known("A run without an experiment goes to `Default`", "As in the client; MLflow's server ends in the database's refusal.",
          example=[post("runs/create", start_time=1)], statuses=(200, 400)),
    Known("A metric of a logged model may be NaN", "MLflow keeps 0 instead.",
          example=[LOGGED, RUN, post("runs/log-metric", run_id="⟦run:0⟧", key="a", value="NaN", timestamp=1, model_id="⟦logged:0⟧"),
                   Call("GET", "logged-models/⟦logged:0⟧", {})]),
    Known("A run without `user_id` belongs to the caller, one without `start_time` starts now", "MLflow keeps an empty name and 1970.",
          example=[post("runs/create", experiment_id="⟦experiment:0⟧")]),
    Known("A logged model's source run must exist", "Lineage that leads nowhere is an error.",
          example=[post("logged-models", experiment_id="⟦experiment:0⟧", source_run_id="nope")], statuses=(404, 200)),
    Known("Names of logged models have at most 500 characters, of models 256, keys 250, descriptions and secrets of webhooks 1,000", "MLflow's tables say so, but its SQLite does not look.",
          example=[post("registered-models/create", name="x" * 257)], statuses=(400, 200)),
    Known("The schema and profile of a dataset input are those of the run", "MLflow keeps the first that the experiment saw under a name and digest."),
    Known("A tag given twice when a run or experiment is created: the last one counts", "MLflow answers with the SQL error.",
          example=[post("runs/create", experiment_id="⟦experiment:0⟧", tags=[{"key": "a", "value": "1"}, {"key": "a", "value": "2"}])], statuses=(200, 400)),
    Known("Texts with a NUL are refused", "Not every database keeps them whole.",
          explains=lambda call, k, m: (k[0], m[0]) == (400, 200) and "\\u0000" in message(k),
          example=[RUN, post("runs/set-tag", run_id="⟦run:0⟧", key="a", value="x\u0000y")], statuses=(400, 200)),
    Known("Logging an output twice, or a logged model's param again with the same value, is no error", "A client that tries again is right.",
          explains=lambda call, k, m: (call.path == "runs/outputs" or call.path.endswith("/params")) and k[0] == 200 and "UNIQUE" in message(m),
          example=[LOGGED, RUN] + [post("runs/outputs", run_id="⟦run:0⟧", models=[{"model_id": "⟦logged:0⟧"}])] * 2, statuses=(200, 400)),
    Known("A description that was taken away is empty; MLflow's is absent", "One way to say that there is none.",
          forgets=without("description", where=lambda value: not value.get("description"))),
    Known("Values over the limit of 8,000 characters are cut when a run is created, as they are later", "MLflow keeps them whole there if the database lets it."),
    Known("Errors of filters and orders, of pages and of JSON have words of their own", "MLflow prints Python's sets, and takes broken JSON for none.",
          explains=lambda call, k, m: (call.list or call.raw is not None or call.path == "runs/log-model") and k[0] == m[0] and code(k) is not None and code(m) in (code(k), "BAD_REQUEST"),
          example=[Call("GET", "registered-models/search", {"filter": "colour = 'red'"})], statuses=(400, 400)),
    Known("What is asked of an evaluation dataset that does not exist is 404, always in the same words",
          "MLflow has no records of it, adds records that belong to nothing, and has three ways to say it.",
          explains=lambda call, k, m: call.path.startswith("/api/3.0/mlflow/datasets/") and k[0] == 404 and m[0] in (200, 404),
          example=[Call("GET", "/api/3.0/mlflow/datasets/nope/records", {})], statuses=(404, 200)),
    Known("All searches know the whole language of filters: `like` in lower case, `tag.x` for `tags.x`, every attribute that can be read",
          "MLflow's parsers differ from one another; some end with an unhandled error.",
          explains=lambda call, k, m: call.list and k[0] == 200 and (m[0] == 500 or m[0] == 400 and re.match("Invalid comparator for tag: (i?like|is (not )?null)|Invalid comparator '(i?like|not in|in)'|Invalid identifier token '(tag|attribute)'", message(m), re.I)),
          example=[Call("GET", "experiments/search", {"filter": "tags.a like 'x'", "max_results": 5})], statuses=(200, 400)),
    Known("A filter that cannot be read as a whole is refused", "MLflow passes over what it does not expect at some places.",
          explains=lambda call, k, m: call.list and (k[0], m[0]) == (400, 200) and re.match("Invalid filter string|could not convert", message(k)),
          example=[post("logged-models/search", experiment_ids=["⟦experiment:0⟧"], filter="metrics.auc > 1 > 0")], statuses=(400, 200)),
    Known("A page token belongs to its question, and only a server makes one", "MLflow's tokens are offsets: runs that come or go between two pages are skipped or repeated.",
          explains=lambda call, k, m: "page_token" in call.fields and k[0] == 400 and "page token" in message(k),
          example=[post("runs/search", experiment_ids=["⟦experiment:0⟧"], page_token="eyJvZmZzZXQiOiAxfQ==")], statuses=(400, 200)),
    Known("The download address of a version made from `runs:/…` is where the files lie", "MLflow gives the `runs:/…` back, which clients look up again.",
          explains=lambda call, k, m: call.path == "model-versions/get-download-uri" and (k[0], m[0]) == (200, 200) and m[1]["artifact_uri"].startswith("runs:/"),
          example=[RUN, MODEL, post("model-versions/create", name="{prefix}m", source="runs:/⟦run:0⟧/model", run_id="⟦run:0⟧"),
                   Call("GET", "model-versions/get-download-uri", {"name": "{prefix}m", "version": "1"})], statuses=(200, 200)),
    Known("An empty file is listed with `file_size` 0", "MLflow lists none.", forgets=without("file_size", where=lambda value: value.get("file_size") == 0)),
    Known("A page holds at least one thing", "MLflow answers with empty pages, some without end.",
          explains=lambda call, k, m: call.list and (k[0], m[0]) == (400, 200) and "max_results" in message(k),
          example=[Call("GET", "registered-models/search", {"max_results": 0})], statuses=(400, 200)),
    Known("A key with a slash can stand in a path, as `%2F`", "MLflow has no route for it.",
          explains=lambda call, k, m: "%2F" in call.path and m[0] == 404 and "not_json" in m[1],
          example=[LOGGED, Call("DELETE", "logged-models/⟦logged:0⟧/tags/a%2Fb", {})], statuses=(404, 404)),
    Known("An instant is of the years 0001 to 9999", "One range for every instant in Keel; MLflow takes any 64-bit number.",
          example=[RUN, post("runs/log-metric", run_id="⟦run:0⟧", key="a", value=1, timestamp=2**63 - 1)], statuses=(400, 200)),
    Known("A number in a text is written as in JSON, or is a name of infinity or NaN", "MLflow takes Python's `1_0`, blanks around and digits of other scripts, and 0 at 1970 for `nan`.",
          example=[RUN, post("runs/log-metric", run_id="⟦run:0⟧", key="a", value="nan", timestamp=1)], statuses=(400, 200)),
    Known("NaN is a text in `get-history-bulk` too", "MLflow's bare `NaN` there is no JSON."),
    Known("A webhook's URL is called as it is written: ASCII without spaces, no user or password, a port that there is, at most 2,048 characters, addresses in their canonical form",
          "What is checked is what is called; MLflow's check and Python's `requests` may read a URL in two ways.",
          explains=lambda call, k, m: call.path.startswith("webhooks") and k[0] == 400 and m[0] in (200, 400) and re.match("Invalid webhook URL '|Webhook URL (must not hold a user|host .* is not a canonical)", message(k)),
          example=[webhook(url="https://user:pass@[2d00::1]/")], statuses=(400, 200)),
    Known("A webhook that names an event twice is told once", "MLflow answers with the SQL error.",
          example=[webhook(events=[MADE, MADE])], statuses=(200, 400)),
    Known("`INVALID_STATE` has the status 409", "MLflow's 500 would make clients try again."),
]


def plain(call, body):
    """An answer without what is known to differ."""
    for known in KNOWN:
        if known.forgets:
            body = known.forgets(call, body)
    return body


def same(call, keel, mlflow):
    """Whether two answers, lists of plain pages (status, body), are the same but for a known difference."""
    if keel == mlflow or any(known.explains and known.explains(call, keel[0], mlflow[0]) for known in KNOWN):
        return True
    return len(keel) == len(mlflow) == 1 and keel[0][0] == mlflow[0][0] and code(keel[0]) == code(mlflow[0]) is not None and same_words(keel[0], mlflow[0])


def same_words(keel, mlflow):
    """The same text, but that MLflow escapes what is not ASCII, and that Keel cuts long values and may say more: what to do, or what is missing."""
    ours, theirs = message(keel), re.sub(r"\\u([0-9a-f]{4})", lambda m: chr(int(m[1], 16)), message(mlflow))
    theirs = theirs.encode("utf-16", "surrogatepass").decode("utf-16").split(" Error: (sqlite3.")[0]
    ours, theirs = (re.sub(r"(.)\1{20,}", r"\1…", text) for text in (ours, theirs))
    return ours.startswith(theirs) or ours.startswith("Changing param values is not allowed.") and theirs.startswith("Changing param") or "\\u0000" in ours or ours.startswith("Missing value for required parameter")

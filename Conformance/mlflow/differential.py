"""The same calls to Keel and to a real MLflow server, and how their answers are compared.

A call is written with places for ids (`⟦run:3⟧` is the fourth run that this sequence created), so that each server is asked about its own
things. Answers are compared after ids are put back into such places and times that the server chose are reduced to what they say.

Run many seeds by hand: python Conformance/mlflow/differential.py KEEL_URL MLFLOW_URL FIRST LAST [CALLS]
"""
import json
import re
import sys
import time
from dataclasses import dataclass

import requests

API = "/api/2.0/mlflow/"
# The thing made last, when there are more than three.
LAST = 999_999
PLACE = re.compile("⟦(run|experiment|logged|evaluation|webhook):(\\d+)⟧")


@dataclass
class Call:
    method: str
    path: str
    fields: dict
    creates: str | None = None
    # Asks page after page until there is none.
    list: str | None = None
    # The body as it is sent, when it is no JSON object.
    raw: str | None = None


CHOSEN_TIMES = {"creation_time": "last_update_time", "creation_timestamp": "last_updated_timestamp", "creation_timestamp_ms": "last_updated_timestamp_ms",
                "created_time": "last_update_time"}


class Server:
    """One of the two servers, what was created on it, and its answers in a form that both can give."""

    def __init__(self, url):
        self.url = url
        self.session = requests.Session()
        self.ids = {"run": [], "experiment": [], "logged": [], "evaluation": [], "webhook": []}
        self.webhooks = []
        # Names that the server made up.
        self.names = {}

    def resolve(self, value):
        if isinstance(value, str):
            return PLACE.sub(lambda m: self.id(m[1], int(m[2])), value)
        if isinstance(value, list):
            return [self.resolve(item) for item in value]
        return {k: self.resolve(v) for k, v in value.items()} if isinstance(value, dict) else value

    def id(self, kind, i):
        made = [x for x in self.ids[kind] if x]
        if i == LAST:
            return made[-1] if len(made) > 3 else "none-of-" + kind
        return made[i % len(made)] if made else "none-of-" + kind

    def ask(self, call):
        fields = self.resolve(call.fields)
        if not call.list:
            return [self.once(call, fields)]
        pages = []
        while len(pages) < 40:
            status, body = self.once(call, fields)
            pages.append((status, body))
            token = body.pop("next_page_token", None) if isinstance(body, dict) else None
            if not token:
                return pages
            fields["page_token"] = token
        return pages + [("pages without end", {})]

    def once(self, call, fields):
        path = self.resolve(call.path)
        url = self.url + (path if path.startswith("/") else API + path)
        if call.raw is not None:
            answer = self.session.request(call.method, url, data=call.raw.encode(), headers={"Content-Type": "application/json"}, timeout=60)
        elif call.method == "GET":
            answer = self.session.get(url, params=fields, timeout=60)
        else:
            answer = self.session.request(call.method, url, json=fields, timeout=60)
        try:
            # Python reads the bare NaN that some of MLflow's answers hold, although it is no JSON.
            body = answer.json(parse_constant=str) if answer.content else {}
        except ValueError:
            body = {"not_json": answer.text[:200]}
        return answer.status_code, body

    def learn(self, call, status, body):
        if not call.creates:
            return
        made = None
        if status == 200:
            made = {"run": lambda: body["run"]["info"]["run_id"], "experiment": lambda: body["experiment_id"],
                    "logged": lambda: body["model"]["info"]["model_id"], "evaluation": lambda: body["dataset"]["dataset_id"],
                    "webhook": lambda: body["webhook"]["webhook_id"]}[call.creates]()
            if call.creates == "webhook":
                self.webhooks.append(made)
            if call.creates == "run":
                self.names[body["run"]["info"]["run_name"]] = None
            name = {"run": lambda: body["run"]["info"]["run_name"], "logged": lambda: body["model"]["info"]["name"]}.get(call.creates, lambda: None)()
            if name and name not in json.dumps(call.fields, ensure_ascii=False):
                self.names[name] = f"⟦name of {call.creates}:{len(self.ids[call.creates])}⟧"
        self.ids[call.creates].append(made)

    def close(self):
        """A list of webhooks is of the whole server: the next sequence begins without those of this one."""
        for webhook in self.webhooks:
            self.once(Call("DELETE", f"webhooks/{webhook}", {}), {})

    def plain(self, value, key=None):
        """The answer with ids in their places, server's times as what they say, and lists without an order of their own sorted."""
        if isinstance(value, dict):
            value = {k: json.loads(v) if k in JSON_TEXTS and isinstance(v, str) else v for k, v in value.items() if k not in MADE_UP}
            out = {k: self.plain(v, k) for k, v in value.items()}
            if out.get("key") == "mlflow.log-model.history":
                out["value"] = json.loads(value["value"])
            if "inputs" in out:
                # A record that comes twice in one call is written once here, twice there.
                out.pop("last_update_time", None)
            if "dataset_id" in out and "digest" in out:
                out["digest"] = "a digest"
            for made, changed in CHOSEN_TIMES.items():
                if made in out and isinstance(value[made], int) and value[made] > 1_750_000_000_000:
                    out[made] = "a time"
                    if changed in out:
                        out[changed] = "the same time" if value[changed] == value[made] else "later"
            return out
        if isinstance(value, list):
            items = [self.plain(item, key) for item in value]
            return sorted(items, key=lambda x: json.dumps(x, sort_keys=True)) if key in UNORDERED else items
        if not isinstance(value, str):
            return value
        if self.names.get(value):
            return self.names[value]
        for kind in ("run", "logged", "evaluation", "webhook"):
            for i, made in enumerate(self.ids[kind]):
                if made and made in value:
                    value = value.replace(made, f"⟦{kind}:{i}⟧")
        numbers = {made: i for i, made in enumerate(self.ids["experiment"]) if made}
        if key in ("experiment_id", "experiment_ids"):
            return f"⟦experiment:{numbers[value]}⟧" if value in numbers else value
        return re.sub(r"(mlflow-artifacts:/|id=|id |experiment |artifact: ')(\d+)\b", lambda m: m[1] + (f"⟦experiment:{numbers[m[2]]}⟧" if m[2] in numbers else m[2]), value)


UNORDERED = {"tags", "params", "metrics", "aliases", "dataset_inputs", "model_inputs", "model_outputs", "latest_versions", "dataset_summaries", "records", "experiment_ids", "events"}
# Fields of evaluation datasets that are JSON inside a text, and what servers make up there.
JSON_TEXTS = {"records", "tags", "schema", "profile"}
MADE_UP = {"dataset_record_id"}


def parts(ours, theirs, path=""):
    """Where two answers differ."""
    if ours == theirs:
        return []
    if isinstance(ours, dict) and isinstance(theirs, dict):
        return [part for key in sorted(ours.keys() | theirs.keys()) for part in parts(ours.get(key), theirs.get(key), f"{path}.{key}")]
    if isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        return [part for i in range(len(ours)) for part in parts(ours[i], theirs[i], f"{path}[{i}]")]
    return [(path, ours, theirs)]


@dataclass
class Difference:
    call: Call
    number: int
    keel: list
    mlflow: list

    def __str__(self):
        def short(x):
            text = re.sub(r"(.)\1{20,}", r"\1…", json.dumps(x, ensure_ascii=False, sort_keys=True))
            return text if len(text) < 900 else text[:900] + "…"
        raw = f" raw={self.call.raw!r}" if self.call.raw is not None else ""
        lines = [f"call {self.number}: {self.call.method} {self.call.path}{raw} {short(self.call.fields)}"]
        for path, ours, theirs in parts(self.keel, self.mlflow)[:6]:
            lines.append(f"  at {path}\n    keel   {short(ours)}\n    mlflow {short(theirs)}")
        return "\n".join(lines)


def compare(calls, keel_url, mlflow_url, plain, same):
    """The differences of one sequence: answers, lists of pages (status, body), made plain, that are not the `same`."""
    keel, mlflow = Server(keel_url), Server(mlflow_url)
    differences = []
    for number, call in enumerate(calls):
        answers = []
        for server in (keel, mlflow):
            pages = server.ask(call)
            server.learn(call, *pages[0])
            answers.append([[status, server.plain(plain(call, body), call.list)] for status, body in pages])
            # Times have milliseconds: two calls never share one.
            time.sleep(0.002)
        if not same(call, *answers):
            differences.append(Difference(call, number, *answers))
        if call.creates and (keel.ids[call.creates][-1] is None) != (mlflow.ids[call.creates][-1] is None):
            keel.ids[call.creates][-1] = mlflow.ids[call.creates][-1] = None
    keel.close()
    mlflow.close()
    return differences


def shortest(calls, shows, tries=60):
    """Fewer of the calls that still show what all of them show, after at most so many tries."""
    step = max(len(calls) // 2, 1)
    while tries and step:
        for start in range(0, len(calls) - 1, step):
            fewer = calls[:start] + calls[start + step:]
            tries -= 1
            # The last call is where it shows.
            if fewer and fewer[-1] is calls[-1] and shows(fewer):
                calls = fewer
                break
            if not tries:
                break
        else:
            step //= 2
    return calls


def main(keel, mlflow, first, last, calls=400):
    """Compares many seeds and prints the first three differences of each kind as they are found."""
    from differences import plain, same
    from random_calls import sequence
    seen = {}
    for seed in range(int(first), int(last) + 1):
        for difference in compare(sequence(int(seed), int(calls)).calls, keel, mlflow, plain, same):
            (k, _), (m, _) = difference.keel[0], difference.mlflow[0]
            kind = (difference.call.method, PLACE.sub("X", difference.call.path), k, m)
            seen[kind] = seen.get(kind, 0) + 1
            if seen[kind] <= 3:
                print(f"seed {seed}", difference, flush=True)
    print(f"{int(last) - int(first) + 1} sequences of {calls} calls:", seen or "no differences")


if __name__ == "__main__":
    main(*sys.argv[1:])

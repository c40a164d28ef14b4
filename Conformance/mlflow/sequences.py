"""Random sequences of calls: what to choose from, and how."""
import random
import time

from differential import Call

KEYS = ["auc", "loss", "val/loss", "a.b", "a b", "k-1", "k_2", "a:b", "ключ", "指标", "k" * 250]
WRONG_KEYS = ["", "a%b", "a😀", "..", "../x", "/abs", "a//b", "a/./b", ".", "./a", "a\nb", "k" * 251, "k" * 10_000, "a;b", "a'b", 'a"b', "a\\b",
              "a\u0000b", "$x", "हिन्दी", "a/", "e\u0301", "mlflow.user", "mlflow.parentRunId", " ", "a ", "%2F", "%", "#", "?", "+", "a&b=c", "`a`", "𝒳" * 250, "😀" * 2500]
TEXTS = ["", "1", "0.5", "tree", "Tree", "linear", "ü \"q\" 😀", "it's", "50%", "a_b", "line\nline", "x" * 500, " padded ", "NULL"]
LONG_TEXTS = ["x" * 5000, "y" * 6000, "z" * 6001, "ü" * 8000, "t" * 8001]
NUMBERS = [0, 1, -1, 0.5, 0.25, 1e-300, 1e300, -2.5e10, 3.0, 12345678901234, "NaN", "Infinity", "-Infinity", "0.75", "1e3", True,
           False, "inf", "-.5", "1e400", 2**70, -0.0, 5e-324]
WRONG_NUMBERS = ["abc", "", None, [1], {"a": 1}, "0x10"]
STEPS = [0, 1, 2, 3, -1, 100, 2**40, "7", 2.0, "8.0", 2**63 - 1, -(2**63)]
WRONG_TYPES = [5, True, ["a"], {"a": 1}, 1.5]


class Sequence:
    """Calls that depend on a seed and on how many things there are, never on what a server answered."""

    def __init__(self, seed, calls, start, weights):
        self.random = random.Random(seed)
        # Names that a server makes up cannot be compared: a sequence that leaves them out does not look or sort by them.
        self.named = not self.rare(0.2)
        self.prefix = f"d{seed}-{int(time.time() * 1000) % 10**9}-"
        self.made = {"run": 0, "experiment": 0, "logged": 0, "evaluation": 0, "webhook": 0}
        # Names of models that were deleted or renamed: Keel goes on with their numbers, MLflow begins again.
        self.left = set()
        self.clock = 1_700_000_000_000
        self.calls = [Call("POST", "experiments/create", {"name": self.prefix + "e0"}, creates="experiment")]
        self.made["experiment"] = 1
        for name in ("m1", "m2"):
            self.calls.append(Call("POST", "registered-models/create", {"name": self.prefix + name}))
        for make in start:
            self.add(make)
        while len(self.calls) < calls:
            self.add(self.random.choices(list(weights), list(weights.values()))[0])

    def add(self, make):
        call = make(self)
        if self.rare(0.03):
            call = self.spoilt(call)
        self.calls.append(call)
        if call.creates:
            self.made[call.creates] += 1

    # Choices

    def one(self, items):
        return self.random.choice(items)

    def rare(self, chance):
        return self.random.random() < chance

    def place(self, kind):
        if self.rare(0.03):
            return self.one({"run": ["0" * 32, "nope", "a/b", "x" * 300], "experiment": ["987654321", "nope", "-1", "1.5", ""],
                             "logged": ["m-" + "0" * 32, "nope"], "evaluation": ["d-" + "0" * 32, "nope"],
                             "webhook": ["0" * 32, "nope", "x" * 300]}[kind])
        # Recent things are asked for more often: their state changed last.
        last = max(self.made[kind] - 1, 0)
        return f"⟦{kind}:{last if self.rare(0.4) else self.random.randint(0, last)}⟧"

    def run(self):
        return self.place("run")

    def experiment(self):
        return self.place("experiment")

    def key(self):
        return self.one(WRONG_KEYS) if self.rare(0.08) else self.one(KEYS)

    def text(self):
        return self.one(LONG_TEXTS) if self.rare(0.05) else self.one(TEXTS)

    def number(self):
        return self.one(WRONG_NUMBERS) if self.rare(0.04) else self.one(NUMBERS)

    def now(self):
        self.clock += 1000
        return self.clock

    def model(self):
        if self.rare(0.03):
            return self.one(["", " ", "a/b", "a:b", ".", "..", self.prefix + "none", "..x"])
        return self.prefix + self.one(["m1", "m2", "m3", "m ü", "m%20", "m.x"])

    def new_model(self):
        name = self.model()
        return f"{self.prefix}n{len(self.left)}" if name in self.left else name

    def left_model(self):
        name = self.model()
        self.left.add(name)
        return name

    def tags(self, most=3):
        return [{"key": self.key(), "value": self.text()} for _ in range(self.random.randint(0, most))]

    def items(self, most=2):
        """Tags or params with keys that every store takes, each once."""
        return [{"key": key, "value": self.one(TEXTS)} for key in self.random.sample(KEYS, self.random.randint(0, most))]

    def spoilt(self, call):
        """One field of a wrong type, left out, or unknown."""
        fields = dict(call.fields)
        # Without these the servers choose for themselves; a path without a run is one in the whole store, whose root is each server's own.
        chosen = {"user_id", "start_time", "model_id", "source_run_id", "run_name"} | {"run": {"experiment_id"}, "logged": {"name"}}.get(call.creates, set())
        names = sorted(fields.keys() - chosen - (set() if "run_id" in fields else {"path"}))
        if not names or call.list or call.raw is not None:
            return call
        name = self.one(names)
        how = self.one(["missing", "wrong", "null", "extra"])
        if how == "missing":
            del fields[name]
        elif how == "wrong" and call.method != "GET" and not isinstance(fields[name], list):
            # Python takes true and 1.5 for whole numbers where protobuf does not.
            fields[name] = ["a"] if name in {"value", "timestamp", "step", "end_time", "status"} else self.one(WRONG_TYPES)
        elif how == "null" and call.method != "GET" and not isinstance(fields[name], list):
            fields[name] = None
        else:
            fields["no_such_field"] = "x"
        return Call(call.method, call.path, fields, call.creates, call.list)

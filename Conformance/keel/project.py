"""A small project of its own: clicks that decide whether a person buys, with everything the flights example has, in seconds."""
import random

RESOURCES = """
apiVersion: keel/v1
kind: Dataset
metadata: { name: clicks }
spec:
  eventTime: at
  key: [id]
  columns:
    - { name: id, type: int64 }
    - { name: user, type: string }
    - { name: at, type: timestamp }
    - { name: price, type: float64, range: [0, 1000] }
    - { name: bought, type: int32, oneOf: ["0", "1"] }
---
apiVersion: keel/v1
kind: Entity
metadata: { name: user }
spec: { keys: { user: string } }
---
apiVersion: keel/v1
kind: FeatureView
metadata: { name: habits }
spec:
  entity: user
  source: clicks
  features:
    - { name: clicks_1h, aggregate: count, window: 1h }
    - { name: mean_price_24h, aggregate: mean, of: price, window: 24h }
---
apiVersion: keel/v1
kind: FeatureView
metadata: { name: asked }
spec: { from: request, features: [{ name: cost, expression: "price" }] }
---
apiVersion: keel/v1
kind: FeatureService
metadata: { name: buying }
spec: { at: at, features: [habits, asked] }
---
apiVersion: keel/v1
kind: Pipeline
metadata: { name: train }
spec:
  parameters: { trees: 10, endpoint: buying }
  steps:
    - { name: examples, uses: training-set, with: { labels: clicks, label: "bought = 1", at: at, features: buying, between: ["2020-01-01", "2030-01-01"], holdout: 20% } }
    - { name: fit, uses: gradient-boosting, with: { data: $examples, trees: $trees, depth: 3 } }
    - { name: evaluate, uses: evaluate, with: { model: $fit.candidate, data: $examples.holdout } }
    - { name: gate, uses: gate, with: { metrics: $evaluate, require: ["auc >= 0.6"] } }
    - { name: register, uses: register, with: { model: $fit.model, name: buying, alias: challenger, metrics: $evaluate, gate: $gate } }
    - { name: release, uses: release, with: { model: $register, endpoint: $endpoint } }
---
apiVersion: keel/v1
kind: Endpoint
metadata: { name: buying, environment: production }
spec:
  features: buying
  rollout: { shadow: { requests: 20 }, canary: { shares: [50%, 100%], every: { requests: 20 } }, rollbackWhen: ["errors > 5%"] }
"""

CARD = """
---
apiVersion: keel/v1
kind: ModelCard
metadata: { name: card }
spec: { model: buying, license: mit, limitations: few clicks, slices: [user, country] }
"""


def rows(count, start=0, seed=1):
    """Rows as the dataset's contract wants them; cheap things are bought."""
    draw = random.Random(seed)
    out = []
    for i in range(start, start + count):
        price = round(draw.uniform(0, 100), 2)
        minute = i * 7
        out.append({
            "id": i, "user": f"u{draw.randrange(20)}", "price": price, "bought": int(draw.random() < (0.9 if price < 40 else 0.1)),
            "at": f"2024-{1 + minute // 40320 % 12:02d}-{1 + minute // 1440 % 28:02d}T{minute // 60 % 24:02d}:{minute % 60:02d}:00Z",
        })
    return out


def csv(rows):
    lines = ["id,user,at,price,bought"] + [f"{r['id']},{r['user']},{r['at']},{r['price']},{r['bought']}" for r in rows]
    return "\n".join(lines) + "\n"


def apply(keel, folder, text=RESOURCES, check=True):
    file = folder / "project.yaml"
    file.write_text(text)
    return keel.cli("apply", file, check=check)


def ingest(keel, folder, text, name="clicks.csv", check=True):
    file = folder / name
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return keel.cli("ingest", "clicks", file, check=check)


def question(ids=("q",), at="2024-06-01T00:00:00Z", price=10.0, user="u1"):
    n = len(ids)
    return {
        "parameters": {"ids": list(ids)},
        "inputs": [
            {"name": "user", "datatype": "BYTES", "shape": [n], "data": [user] * n},
            {"name": "at", "datatype": "BYTES", "shape": [n], "data": [at] * n},
            {"name": "price", "datatype": "FP64", "shape": [n], "data": [price] * n},
        ],
    }

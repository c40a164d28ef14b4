"""Random filters and orders in MLflow's language."""
import re

KEYS = ["auc", "loss", "val/loss", "a.b", "a b", "k-1", "k_2", "a:b", "ключ", "nope"]
PATTERNS = ["%", "t%", "%e", "_ree", "50\\%", "50%", "T%", "%ü%", "a_b", "", "%\\_%", "[t]%", "*", "%'%"]
TEXTS = ["tree", "Tree", "1", "0.5", "", "it's", "50%", "ü", "NULL", " padded ", "a_b"]
NUMBERS = ["0", "0.5", "-1", "1e300", "1e3", "3", "12345678901234", ".5", "+1", "-1e-300", "0.50"]
EQUALITIES = ["=", "!="]
COMPARISONS = ["=", "!=", "<", "<=", ">", ">="]
LIKES = ["LIKE", "ILIKE", "like", "ilike"]


def spelt(s, entity, key):
    """An identifier: quoted when it has to be, or at random."""
    bare = re.fullmatch(r"[A-Za-z0-9_./]+", key)
    return f"{entity}.{key}" if bare and s.rare(0.7) else f"{entity}.`{key}`" if s.rare(0.6) else f'{entity}."{key}"'


def text(s, value):
    """A literal."""
    return f'"{value}"' if "'" in value or s.rare(0.2) else f"'{value}'"


def texts(s, values):
    return "(" + s.one([",", ", "]).join(text(s, value) for value in values) + ")"


def compared_text(s, name, values, lists):
    """A clause on a text: an attribute, a parameter, a tag."""
    how = s.random.random()
    if lists and how < 0.2:
        return f"{name} {s.one(['IN', 'NOT IN', 'in', 'not in'])} {texts(s, s.random.sample(values, s.random.randint(1, 2)))}"
    # Ids are made up: part of one says nothing.
    if how < 0.45 and not name.endswith(("id", "uri")):
        return f"{name} {s.one(LIKES)} {text(s, s.one(PATTERNS))}"
    space = s.one([" ", " ", "", "  "])
    return f"{name}{space}{s.one(EQUALITIES)}{space}{text(s, s.one(values))}"


def compared_number(s, name, values):
    space = s.one([" ", " ", ""])
    return f"{name}{space}{s.one(COMPARISONS)}{space}{s.one(values)}"


def keyed(s, entity):
    """A clause on a parameter or tag."""
    name = spelt(s, s.one([entity, entity + "s", {"param": "parameter", "tag": "tag"}[entity]]), s.one(KEYS))
    return f"{name} {s.one(['IS NULL', 'IS NOT NULL', 'is null', 'is not null'])}" if s.rare(0.2) else compared_text(s, name, TEXTS, lists=False)


def measured(s):
    return compared_number(s, spelt(s, s.one(["metric", "metrics"]), s.one(KEYS)), NUMBERS)


def attribute(s, texts, numbers, lists):
    """A clause on one of the attributes: names with the values to compare them with, and which can be in a list."""
    name = s.one(sorted(texts) + sorted(numbers))
    spelling = s.one(["", "", "attribute.", "attributes.", "attr."]) + name
    return compared_number(s, spelling, numbers[name]) if name in numbers else compared_text(s, spelling, texts[name], name in lists)


def conjunction(s, clauses):
    """Up to three clauses, each made by one of the functions."""
    chosen = [s.one(clauses)(s) for _ in range(s.one([1, 1, 2, 3]))]
    return s.one([" AND ", " AND ", " and ", "  AND\n"]).join(chosen)


def orders(s, names, most=3):
    """Up to three terms of an order, by different things."""
    chosen = s.random.sample(names, s.random.randint(1, min(most, len(names))))
    return [name + s.one(["", " ASC", " DESC", " asc", " desc"]) for name in chosen]


def keys(s, entities):
    return [spelt(s, entity, key) for entity in entities for key in s.random.sample(KEYS, 3)]

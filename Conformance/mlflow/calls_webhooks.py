"""Random calls about webhooks. Nobody is at the addresses: the block is public, and given to nobody."""
from differential import LAST, Call

EVENTS = [("REGISTERED_MODEL", "CREATED"), ("MODEL_VERSION", "CREATED"), ("MODEL_VERSION_TAG", "SET"), ("MODEL_VERSION_TAG", "DELETED"),
          ("MODEL_VERSION_ALIAS", "CREATED"), ("MODEL_VERSION_ALIAS", "DELETED"), ("PROMPT", "CREATED"), ("PROMPT_VERSION", "CREATED"), ("PROMPT_TAG", "SET"),
          ("PROMPT_TAG", "DELETED"), ("PROMPT_VERSION_TAG", "SET"), ("PROMPT_VERSION_TAG", "DELETED"), ("PROMPT_ALIAS", "CREATED"),
          ("PROMPT_ALIAS", "DELETED"), ("BUDGET_POLICY", "EXCEEDED")]
# By their numbers in protobuf, also as texts.
NUMBERED = [(1, 1), (3, 4), ("5", "1"), (10, "EXCEEDED")]
WRONG_EVENTS = [("MODEL_VERSION", "EXCEEDED"), ("BUDGET_POLICY", "CREATED"), ("PROMPT", "UPDATED"), ("MODEL_VERSION_TAG", "CREATED"), ("model_version", "created"),
                ("NOPE", "CREATED"), ("PROMPT", "NOPE"), ("ENTITY_UNSPECIFIED", "CREATED"), ("", "CREATED"), (11, 1), (0, 1), ("MODEL_VERSION", 6)]
URLS = ["https://[2d00::1]/hook", "https://[2d00::2]:8443/a/b?c=d&e=%20f", "https://[2d00:0:0::3]", "HTTPS://[2d00::4]/x"]
WRONG_URLS = ["", " ", "no url", "http://[2d00::1]/", "ftp://[2d00::1]/", "https://", "https:///x", "https://:443/", "https://127.0.0.1/", "https://10.1.2.3/x",
              "https://169.254.169.254/latest/meta-data", "https://[::1]/", "https://[fd00::1]/", "https://0.0.0.0/", "//[2d00::1]/", "https",
              "javascript:alert(1)", "1https://[2d00::1]/", "https://[::1", "https://100.64.0.1/", "https://[2001:db8::1]/"]
WRONG_NAMES = ["", "-a", "a b", "ü", "x" * 64, "a/b", ".a", "a-", " "]


def events(s):
    made = s.random.sample(EVENTS, s.random.randint(1, 3))
    if s.rare(0.1):
        made = [s.one(NUMBERED)]
    if s.rare(0.1):
        made.append(s.one(WRONG_EVENTS))
    return [{"entity": entity, "action": action} for entity, action in made]


def name(s):
    # Names may be taken twice.
    return s.one(WRONG_NAMES) if s.rare(0.06) else s.prefix + s.one(["w1", "w2", "w.3", "W_4"])


def address(s):
    return s.one(WRONG_URLS) if s.rare(0.15) else s.one(URLS)


def more(s):
    fields = {}
    if s.rare(0.5):
        fields["description"] = s.one(["", "what it is for", "ü \"q\" 😀", "line\nline", "x" * 900])
    if s.rare(0.4):
        fields["secret"] = s.one(["", "correct horse", "ü", "s" * 500])
    if s.rare(0.4):
        fields["status"] = s.one(["ACTIVE", "DISABLED", "DISABLED", 1, 2, "2"])
    return fields


def create_webhook(s):
    return Call("POST", "webhooks", {"name": name(s), "url": address(s), "events": [] if s.rare(0.04) else events(s)} | more(s), creates="webhook")


def get_webhook(s):
    return Call("GET", f"webhooks/{s.place('webhook')}", {})


def list_webhooks(s):
    fields = {}
    if s.rare(0.8):
        fields["max_results"] = s.one([-1, 1001, "x", ""]) if s.rare(0.1) else s.one([1, 2, 3, 100, 1000, 0])
    return Call("GET", "webhooks", fields, list="webhooks")


def update_webhook(s):
    fields = more(s)
    if s.rare(0.3):
        fields["name"] = name(s)
    if s.rare(0.3):
        fields["url"] = address(s)
    if s.rare(0.4):
        fields["events"] = [] if s.rare(0.1) else events(s)
    return Call("PATCH", f"webhooks/{s.place('webhook')}", fields)


def delete_webhook(s):
    return Call("DELETE", f"webhooks/{s.place('webhook') if s.rare(0.2) else f'⟦webhook:{LAST}⟧'}", {})

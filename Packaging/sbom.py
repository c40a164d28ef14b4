"""A bill of materials, CycloneDX 1.6: Keel and all that a package of it holds, with versions, licences and digests."""
import hashlib
import json
import time
import uuid


def licence(text):
    return [{"expression": text}] if " " in text else [{"license": {"id": text}}]


def component(part):
    out = {"type": "library", "bom-ref": f"{part['name']}@{part['version']}", "name": part["name"], "version": part["version"],
           "licenses": licence(part["licence"]), "purl": part["purl"], "externalReferences": [{"type": "website", "url": part["address"]}]}
    return out


def machine_code(tree, path):
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    name = str(path.relative_to(tree))
    return {"type": "file", "bom-ref": name, "name": name, "hashes": [{"alg": "SHA-256", "content": digest}]}


def write(path, tree, files, parts, version, epoch):
    """`files`: the machine code in the tree `tree`; `parts`: what licences.components says."""
    parts = sorted(parts, key=lambda part: part["name"])
    own = {"type": "application", "bom-ref": f"keel@{version}", "name": "keel", "version": version, "licenses": licence("Apache-2.0")}
    body = {
        "bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1,
        "metadata": {"timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(epoch)), "component": own},
        "components": [component(part) for part in parts] + [machine_code(tree, file) for file in files],
        "dependencies": [{"ref": own["bom-ref"], "dependsOn": [f"{part['name']}@{part['version']}" for part in parts]}],
    }
    # One content, one number: two builds of a commit are alike.
    body["serialNumber"] = f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, json.dumps(body, sort_keys=True))}"
    path.write_text(json.dumps(body, indent=1) + "\n")

"""The Helm chart: what it renders for three sets of values is valid, and says what a platform engineer would ask for."""
import subprocess

import pytest
import yaml

from servers import ROOT, Keel

CHART = ROOT / "Packaging" / "helm" / "keel"
TOOLS = ROOT / ".keel" / "venv-chart" / "bin"
EXAMPLES = sorted(path.stem for path in (CHART / "examples").glob("*.yaml"))


def render(*options):
    return subprocess.run([TOOLS / "helm", "template", "demo", CHART, "--namespace", "ml", *options], capture_output=True, text=True)


def manifests(example):
    done = render("--values", CHART / "examples" / f"{example}.yaml")
    assert done.returncode == 0, done.stderr
    return [body for body in yaml.safe_load_all(done.stdout) if body]


def first_token_script():
    server, = [body for body in manifests("small") if body["kind"] == "StatefulSet"]
    init, = server["spec"]["template"]["spec"]["initContainers"]
    assert init["command"] == ["/bin/sh", "-ec"]
    return init["args"][0]


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_manifest_is_valid(example, tmp_path):
    (tmp_path / "all.yaml").write_text(yaml.safe_dump_all(manifests(example)))
    validate = TOOLS / "kubernetes-validate"
    for version in ("1.25", "1.33", "1.37"):
        done = subprocess.run([validate, "--strict", "-k", version, tmp_path / "all.yaml"], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    body = (tmp_path / "all.yaml").read_text().replace("terminationGracePeriodSeconds: 45", "terminationGracePeriodSeconds: soon")
    (tmp_path / "wrong.yaml").write_text(body)
    assert subprocess.run([validate, "--strict", "-k", "1.33", tmp_path / "wrong.yaml"], capture_output=True).returncode != 0


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_server_has_no_rights_that_it_does_not_need(example):
    bodies = {body["kind"]: body for body in manifests(example)}
    server = bodies["StatefulSet"]["spec"]
    pod = server["template"]["spec"]
    assert server["replicas"] == 1 and pod["securityContext"]["runAsNonRoot"] and pod["automountServiceAccountToken"] is False
    for container in pod["containers"] + pod.get("initContainers", []):
        assert container["securityContext"] == {"readOnlyRootFilesystem": True, "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
        assert container["resources"]["limits"]["memory"] and container["resources"]["requests"]["cpu"]
    # No address of another service in its environment, no account that others share, no file that fills the node, no key that all may read.
    assert pod["enableServiceLinks"] is False
    account = bodies["ServiceAccount"]
    assert pod["serviceAccountName"] == account["metadata"]["name"] and account["automountServiceAccountToken"] is False
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert volumes["tmp"]["emptyDir"]["sizeLimit"] and ("tls" not in volumes or volumes["tls"]["secret"]["defaultMode"] == 0o440)
    keel, = pod["containers"]
    assert {"startupProbe", "readinessProbe", "livenessProbe"} <= set(keel)
    guarded = example != "small"
    assert ("NetworkPolicy" in bodies) == guarded and ("PodDisruptionBudget" in bodies) == guarded


def test_the_first_token_ends_by_itself():
    """It lies in the volume, where programs of steps may read it."""
    script = first_token_script()
    assert "--expires 7d" in script and "--expires never" not in script


def test_an_image_can_be_named_by_its_digest():
    digest = "sha256:" + "0" * 64
    done = render("--set", f"image.digest={digest}")
    images = {container["image"] for body in yaml.safe_load_all(done.stdout) if body and body["kind"] == "StatefulSet"
              for container in body["spec"]["template"]["spec"]["containers"] + body["spec"]["template"]["spec"]["initContainers"]}
    assert images == {f"keel@{digest}"}
    assert render("--set", "image.digest=latest").returncode != 0


def test_values_that_mean_nothing_are_refused():
    for value in ("replicas=3", "service.port=0", "volume.size=large", "firstToken=perhaps"):
        done = render("--set", value)
        assert done.returncode != 0 and "schema" in done.stderr, value


def test_the_server_takes_the_settings_that_are_rendered(tmp_path):
    settings, = [body for body in manifests("existing-claim") if body["kind"] == "ConfigMap"]
    config = tmp_path / "keel.yaml"
    config.write_text(settings["data"]["keel.yaml"])
    # The last argument of the launcher is the command itself, with its own arguments behind.
    server = Keel(launcher=["sh", "-c", f'exec "$@" --config {config}', "sh"]).start()
    try:
        token = server.cli("tokens", "create", "reader", "--persona", "owner").stdout.strip()
        # With a token, as every request in a cluster: the names of the service are its own, and no other is.
        answers = [server.get("/v2", headers={"Host": host, "Authorization": f"Bearer {token}"}) for host in ("demo-keel.ml.svc", "elsewhere.example")]
        assert answers[0].status_code == 200, answers[0].text
        assert answers[1].status_code == 403, answers[1].text
    finally:
        server.stop()

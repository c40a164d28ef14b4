"""What `keel plan` finds before a run gets there."""
import yaml

import project


def test_an_output_that_no_step_has_is_found_and_every_one_that_a_step_has_is_accepted(keel, tmp_path):
    project.apply(keel, tmp_path)
    project.ingest(keel, tmp_path, project.csv(project.rows(2000)))
    keel.cli("run", "train")
    run = keel.get("/api/v1/runs").json()["runs"][0]["id"]
    steps = keel.get(f"/api/v1/runs/{run}").json()["steps"]
    pipeline, = [d for d in yaml.safe_load_all(project.RESOURCES) if d["kind"] == "Pipeline"]

    def plan(*references):
        use = {"name": "use", "uses": "shell", "with": {"run": "true", "env": {f"V{i}": r for i, r in enumerate(references)}}}
        file = tmp_path / "plan.yaml"
        file.write_text(yaml.safe_dump(pipeline | {"spec": pipeline["spec"] | {"steps": pipeline["spec"]["steps"] + [use]}}))
        return keel.cli("plan", file, check=False)

    had = [f"${step['name']}.{name}" for step in steps for name in step["outputs"]]
    assert {reference.split(".")[0] for reference in had} == {f"${step['name']}" for step in pipeline["spec"]["steps"]}
    done = plan(*had)
    assert done.returncode == 0, done.stderr
    done = plan("$fit.modle", "$gate.nothing")
    assert done.returncode == 1 and "$fit has no output 'modle'" in done.stderr and "did you mean 'model'?" in done.stderr, done.stderr
    assert "$gate has no output 'nothing'" in done.stderr, "all are named at once"

"""Runs a workflow of GitHub Actions: jobs by their needs, steps in their order."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from pipelines.expressions import PLAIN, filled, is_true, shown
from pipelines.place import PIPELINES, Place

WORKFLOW = ".github/workflows/images.yml"
_STATUS = ("always(", "success(", "failure(", "cancelled(")


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What starts the workflow, and what is known of it."""

    name: str
    before: str = ""
    base_ref: str = ""
    inputs: Mapping[str, str] = field(default_factory=dict)

    @property
    def context(self) -> dict[str, Any]:
        """The context ``github``."""
        return {
            "event_name": self.name,
            "ref": "refs/heads/main",
            "base_ref": self.base_ref,
            "event": {"before": self.before, "number": 7},
            "token": "token",
        }


def files() -> dict[str, str | Path]:
    """Return the files that a repository of recipes has for it."""
    return {WORKFLOW: PIPELINES / "github.yml", "ci/setup-debian": PIPELINES / "setup-debian"}


def run(place: Place, event: Event) -> bool:
    """Run the workflow that the repository has; return whether all of it passed."""
    workflow = YAML(typ="safe").load((place.origin / WORKFLOW).read_text())
    assert event.name in workflow["on"], "the workflow does not run then"
    given = {
        key: value.get("default", "")
        for key, value in (workflow["on"]["workflow_dispatch"].get("inputs") or {}).items()
    }
    contexts = {
        "github": event.context,
        "inputs": {**given, **event.inputs},
        "vars": {
            "CATALOG": place.catalog,
            "CACHE": place.remote_cache,
            "AWS_REGION": "us-east-1",
            "AWS_ROLE": "role",
            "AWS_READ_ROLE": "reader",
            "PROMOTE_TO": "fleet",
        },
        "needs": {},
    }
    contexts["env"] = {k: shown(filled(v, contexts)) for k, v in workflow.get("env", {}).items()}
    jobs: dict[str, Any] = dict(workflow["jobs"])
    results: dict[str, str] = {}
    while jobs:
        name = next(
            key for key, job in jobs.items() if not set(_needs(job)) & set(jobs)
        )  # those that it needs have run
        job = jobs.pop(name)
        needed = {key: results[key] for key in _needs(job)}
        results[name] = _job(place, name, job, contexts, needed)
    return "failure" not in results.values()


def _needs(job: Any) -> list[str]:
    needs = job.get("needs", [])
    return [needs] if isinstance(needs, str) else list(needs)


def _job(
    place: Place, name: str, job: Any, contexts: dict[str, Any], needed: Mapping[str, str]
) -> str:
    """Run a job, for each cell of its matrix; return its result."""
    ok = all(each == "success" for each in needed.values())
    if not _wanted(job.get("if"), contexts, ok=ok):
        place.note(name, "", "skipped")
        return "skipped"
    results = []
    outputs: dict[str, str] = {}
    for cell in _cells(job, contexts):
        title = shown(filled(job.get("name", name), {**contexts, "matrix": cell}))
        passed, outputs = _steps(place, f"{name}: {title}" if cell else name, job, contexts, cell)
        results.append(passed)
    contexts["needs"][name] = {"outputs": outputs}
    return "success" if all(results) else "failure"


def _cells(job: Any, contexts: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    matrix = filled(job.get("strategy", {}).get("matrix"), contexts)
    if matrix is None:
        yield {}
    else:
        assert set(matrix) == {"include"}, "only lists of cells are known here"
        yield from matrix["include"]


def _wanted(condition: Any, contexts: Mapping[str, Any], *, ok: bool) -> bool:
    """Return whether a job or step runs: after a failure only if its condition asks for that."""
    text = "success()" if condition is None else str(condition)
    functions = {
        **PLAIN,
        "always": lambda: True,
        "success": lambda: ok,
        "failure": lambda: not ok,
        "cancelled": lambda: False,
    }
    if not ok and not any(each in text for each in _STATUS):
        return False  # what it asks for may not be there
    whole = text if "${{" in text else f"${{{{ {text} }}}}"
    return is_true(filled(whole, contexts, functions))


def _steps(
    place: Place, name: str, job: Any, contexts: Mapping[str, Any], cell: dict[str, Any]
) -> tuple[bool, dict[str, str]]:
    """Run the steps of a job; return whether it passed, and its outputs."""
    clone, ok = place.folder, True
    files = place.folder / f"commands-{secrets.token_hex(4)}"
    files.mkdir()
    mine: dict[str, Any] = {**contexts, "matrix": cell, "steps": {}}
    env = {**contexts["env"], **{k: shown(filled(v, mine)) for k, v in job.get("env", {}).items()}}
    path = ""
    for number, step in enumerate(job["steps"]):
        title = step.get("name") or step.get("uses") or step["run"].strip().partition("\n")[0]
        if not _wanted(step.get("if"), mine, ok=ok):
            place.note(name, title, "skipped")
            continue
        inputs = {k: filled(v, mine) for k, v in step.get("with", {}).items()}
        if "uses" in step:
            if step["uses"].startswith("actions/checkout@"):
                clone = place.clone(depth=int(inputs.get("fetch-depth", 1)))
            ok = _action(place, name, step["uses"], inputs, clone) and ok
            continue
        output, added = files / f"output-{number}", files / f"path-{number}"
        output.touch()
        added.touch()
        own = {
            **env,
            **{k: shown(filled(v, mine)) for k, v in step.get("env", {}).items()},
            "GITHUB_ACTIONS": "true",
            "GITHUB_WORKSPACE": str(clone),
            "GITHUB_OUTPUT": str(output),
            "GITHUB_PATH": str(added),
        }
        if path:
            own["PATH"] = f"{path}:{place.environment['PATH']}"
        assert "${{" not in step["run"], "values of others are no part of a script"
        # Without `shell:` the runner's bash has no pipefail: what relies on it is to say so.
        ran = place.run(name, title, f"set +o pipefail\n{step['run']}", clone, own)
        ok = ok and ran.state == "passed"
        path = ":".join([*reversed(added.read_text().split()), *([path] if path else [])])
        lines = (line.partition("=") for line in output.read_text().splitlines())
        mine["steps"][step.get("id", number)] = {"outputs": {k: v for k, _, v in lines}}
    return ok, {k: shown(filled(v, mine)) for k, v in job.get("outputs", {}).items()} if ok else {}


def _action(place: Place, job: str, action: str, inputs: Mapping[str, Any], clone: Path) -> bool:
    """Stand in for an action; return whether it would have passed."""
    name = action.partition("@")[0]
    log, ok = "", True
    if name == "github/codeql-action/upload-sarif":
        ok = (clone / inputs["sarif_file"]).is_file()
        log = str(inputs["sarif_file"])
    elif name == "actions/upload-artifact":
        found = [path for each in inputs["path"].split() for path in clone.glob(each)]
        ok = bool(found) or inputs.get("if-no-files-found") == "ignore"
        log = f"{inputs['name']}: {len(found)} paths"
    elif name == "aws-actions/configure-aws-credentials":
        ok = bool(inputs["role-to-assume"] and inputs["aws-region"])
        log = "the server's keys stand in the environment"
    else:
        assert name in ("actions/checkout", "actions/cache"), f"{name} is not known here"
    place.note(job, action, "passed" if ok else "failed", log)
    return ok

"""Runs a pipeline of GitLab CI: stage by stage, with the child pipeline that a job makes."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from pipelines.place import PIPELINES, Place

PIPELINE = ".gitlab-ci.yml"
# What stands at the top of a pipeline and is no job.
_NO_JOBS = ("stages", "default", "variables", "include", "workflow")
_CONDITION = re.compile(r"\s*(\$\w+)\s*(==|!=)\s*(\$\w+|\"[^\"]*\")\s*")


def files() -> dict[str, str | Path]:
    """Return the files that a repository of recipes has for it."""
    return {
        PIPELINE: PIPELINES / "gitlab.yml",
        "ci/setup-debian": PIPELINES / "setup-debian",
        "ci/gitlab-image.yml": PIPELINES / "gitlab-image.yml",
    }


def run(place: Place, source: str, variables: Mapping[str, str], *, by_hand: bool = False) -> bool:
    """Run the pipeline that the repository has; return whether all of it passed.

    Args:
        place: where.
        source: what started it, as ``CI_PIPELINE_SOURCE`` says it.
        variables: of the pipeline.
        by_hand: somebody starts the jobs that wait for that.
    """
    pipeline = _load(place.origin / PIPELINE, place.origin)
    given = {
        "GITLAB_CI": "true",
        "CI_PIPELINE_SOURCE": source,
        "CI_DEFAULT_BRANCH": "main",
        "CATALOG": place.catalog,
        "CACHE": place.remote_cache,
        "AWS_ROLE_ARN": "role",
        "AWS_READ_ROLE_ARN": "reader",
        "PROMOTE_TO": "fleet",
        **variables,
    }
    return _pipeline(place, pipeline, given, "", by_hand=by_hand)


def _load(path: Path, root: Path) -> dict[str, Any]:
    """Read a pipeline with what it includes."""
    found: dict[str, Any] = YAML(typ="safe").load(path.read_text())
    for each in found.get("include", []):
        found = {**_load(root / each["local"], root), **found}
    return found


def _pipeline(
    place: Place, pipeline: dict[str, Any], given: Mapping[str, str], prefix: str, *, by_hand: bool
) -> bool:
    jobs = {
        name: _whole(pipeline, job)
        for name, job in pipeline.items()
        if name not in _NO_JOBS and not name.startswith(".")
    }
    stages = pipeline.get("stages", ["build", "test", "deploy"])
    variables = {**{k: str(v) for k, v in pipeline.get("variables", {}).items()}, **given}
    artifacts: dict[str, Path] = {}
    failed = False
    for stage in stages:
        for name, job in jobs.items():
            if job.get("stage", "test") != stage:
                continue
            title = f"{prefix}{name}"
            rule = _rule(job, variables)
            if rule is None or failed or (rule.get("when") == "manual" and not by_hand):
                place.note(title, "", "skipped")
                continue
            own = {**variables, **job.get("variables", {}), **_filled(rule, variables)}
            kept = place.folder / f"artifacts-{len(place.ran)}"
            passed = (
                _child(place, job["trigger"], artifacts, given, title, by_hand=by_hand)
                if "trigger" in job
                else _job(place, title, job, own, artifacts, kept)
            )
            if kept.is_dir():
                artifacts[name] = kept
            failed = failed or not passed
    return not failed


def _filled(rule: Mapping[str, Any], variables: Mapping[str, str]) -> dict[str, str]:
    return {
        key: re.sub(r"\$(\w+)", lambda found: variables.get(found[1], ""), value)
        for key, value in rule.get("variables", {}).items()
    }


def _whole(pipeline: Mapping[str, Any], job: Mapping[str, Any]) -> dict[str, Any]:
    """Return a job with what it extends, and with the defaults."""
    base = _whole(pipeline, pipeline[job["extends"]]) if "extends" in job else {}
    defaults = {} if "trigger" in job or base else dict(pipeline.get("default", {}))
    merged: dict[str, Any] = {**defaults, **base}
    for key, value in job.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = {**merged[key], **value} if both else value
    return merged


def _rule(job: Mapping[str, Any], variables: Mapping[str, str]) -> Mapping[str, Any] | None:
    """Return the first rule that holds; None: the job does not run."""
    if "rules" not in job:
        return {}
    return next((rule for rule in job["rules"] if _holds(rule.get("if"), variables)), None)


def _holds(condition: str | None, variables: Mapping[str, str]) -> bool:
    if condition is None:
        return True

    def value(text: str) -> str:
        return variables.get(text[1:], "") if text.startswith("$") else text[1:-1]

    for each in condition.split("&&"):
        found = _CONDITION.fullmatch(each)
        assert found, f"{each!r} is not understood here"
        if (value(found[1]) == value(found[3])) != (found[2] == "=="):
            return False
    return True


def _child(
    place: Place, trigger: Any, artifacts: Mapping[str, Path], given: Mapping[str, str],
    title: str, *, by_hand: bool,
) -> bool:  # fmt: skip
    """Run the pipeline that another job made; its state is that of the job that starts it."""
    include = trigger["include"][0]
    path = artifacts[include["job"]] / include["artifact"]
    own = {**given, "CI_PIPELINE_SOURCE": "parent_pipeline"}
    passed = _pipeline(place, _load(path, place.origin), own, f"{title}: ", by_hand=by_hand)
    return passed or trigger.get("strategy") != "depend"


def _job(
    place: Place, title: str, job: Any, variables: Mapping[str, str],
    artifacts: Mapping[str, Path], kept: Path,
) -> bool:  # fmt: skip
    """Run the script of a job; what it is to keep goes to ``kept``."""
    clone = place.clone(depth=int(variables.get("GIT_DEPTH", "20")))
    for each in artifacts.values():
        shutil.copytree(each, clone, dirs_exist_ok=True)
    tokens = dict.fromkeys(job.get("id_tokens", {}), "token")
    own = {**variables, **tokens, "CI_PROJECT_DIR": str(clone)}
    # One shell runs all of it, as GitLab's does.
    script = "\n".join([*job.get("before_script", []), *job["script"]])
    ran = place.run(title, "script", script, clone, own)
    if "after_script" in job:  # in a shell of its own, whatever became of the script
        place.run(title, "after_script", "\n".join(job["after_script"]), clone, own)
    wanted = job.get("artifacts", {})
    if ran.state == "passed" or wanted.get("when") == "always":
        for path in _found(clone, wanted):
            target = kept / path.relative_to(clone)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copytree(path, target) if path.is_dir() else shutil.copy(path, target)
    if ran.state == "passed":
        for each in wanted.get("paths", []):
            if "*" not in each:
                assert (clone / each).exists(), f"{title} was to make {each}"
    return ran.state == "passed"


def _found(clone: Path, wanted: Mapping[str, Any]) -> Iterator[Path]:
    reports = wanted.get("reports", {}).values()
    patterns = [*wanted.get("paths", [])]
    for each in reports:
        patterns += [each] if isinstance(each, str) else each
    for pattern in patterns:
        yield from clone.glob(pattern.rstrip("/"))

"""One change of a recipe on its way: a pull request, a merge, a release, a promotion."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping

import boto3
from seaweed import ACCESS_KEY, SECRET_KEY

from pipelines import github, gitlab
from pipelines.place import BUCKET, ROOT, Place

# How a recipe can be broken: a fragment for it, and in which line of it (or of the recipe, where
# there is none) that is to be seen.
BROKEN: Mapping[str, tuple[str, int]] = {
    "lint": ("# not what it was\nnonsense --loud\n", 2),
    "build": ("\n%post --erroronfail\necho so far so good\nfalse\n%end\n", 2),
    "boot": ("\n%post --erroronfail\nsystemctl disable ssh.service\n%end\n", 0),
}
RECIPE = "base"  # of this repository
FRAGMENT = "kickstarts/change.ks"


def lay_out(place: Place, system: str) -> str:
    """Make a repository of recipes whose last commit changes one; return the commit before."""
    files = github.files() if system == "github" else gitlab.files()
    source = (ROOT / f"recipes/{RECIPE}.toml").read_text()
    before = source.replace('summary = "', 'summary = "Before: ', 1)
    assert before != source
    place.commit("recipes", {"kickstarts/base": ROOT / "kickstarts/base", **files})
    first = place.commit("before", {f"recipes/{RECIPE}.toml": before})
    place.git("checkout", "-q", "-b", "change")
    place.commit("the change", {f"recipes/{RECIPE}.toml": source})
    return first


def break_it(place: Place, how: str) -> None:
    """Add a commit that breaks the recipe."""
    path = place.origin / f"recipes/{RECIPE}.toml"
    text = path.read_text().replace("kickstarts = [", 'kickstarts = [\n    "change.ks",', 1)
    assert "change.ks" in text
    place.commit("break it", {f"recipes/{RECIPE}.toml": text, FRAGMENT: BROKEN[how][0]})


def run(place: Place, system: str, broken: str | None = None) -> bool:
    """Take a change from a pull request to a promoted release; stop where it fails."""
    client = boto3.client(
        "s3",
        endpoint_url=place.server.endpoint,
        region_name="us-east-1",
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
    )
    if BUCKET not in {each["Name"] for each in client.list_buckets()["Buckets"]}:
        client.create_bucket(Bucket=BUCKET)
    before = lay_out(place, system)
    if broken:
        break_it(place, broken)
    steps = _github if system == "github" else _gitlab
    return all(step() for step in steps(place, before))


Stage = Callable[[], bool]


def _merge(place: Place) -> None:
    place.git("checkout", "-q", "main")
    place.git("merge", "-q", "--ff-only", "change")


def _keep(place: Place) -> None:
    """Let later jobs find the images of those before, as on a builder that keeps its folder."""
    images = sorted(place.folder.glob("job-*/repository/build"))
    if images and place.seed is None:
        kept = place.folder / "images"
        shutil.copytree(images[-1], kept, symlinks=True)
        place.seed = kept


def _github(place: Place, before: str) -> tuple[Stage, ...]:
    def on_request() -> bool:
        return github.run(place, github.Event(name="pull_request", base_ref="main"))

    def on_merge() -> bool:
        _keep(place)
        _merge(place)
        return github.run(place, github.Event(name="push", before=before))

    def promote() -> bool:
        return github.run(place, github.Event(name="workflow_dispatch", inputs={"name": RECIPE}))

    return on_request, on_merge, promote


def _gitlab(place: Place, before: str) -> tuple[Stage, ...]:
    def on_request() -> bool:
        return gitlab.run(place, "merge_request_event", {"CI_MERGE_REQUEST_DIFF_BASE_SHA": before})

    def on_merge() -> bool:
        _keep(place)
        _merge(place)
        given = {"CI_COMMIT_BRANCH": "main", "CI_COMMIT_BEFORE_SHA": before}
        return gitlab.run(place, "push", given)

    def promote() -> bool:
        return gitlab.run(place, "web", {"CI_COMMIT_BRANCH": "main", "NAME": RECIPE}, by_hand=True)

    return on_request, on_merge, promote


def nightly(place: Place, system: str) -> bool:
    """Run the nightly job; it looks at the mirrors, and may find something to build."""
    if system == "github":
        return github.run(place, github.Event(name="schedule"))
    return gitlab.run(place, "schedule", {"CI_COMMIT_BRANCH": "main"})


def jobs(place: Place) -> list[tuple[str, str]]:
    """Return the jobs of which steps were run, in their order, each with what came of it."""
    found: list[tuple[str, str]] = []
    for each in place.ran:
        if each.state == "skipped":
            continue
        if not found or found[-1][0] != each.job:
            found.append((each.job, "passed"))
        if each.state == "failed":
            found[-1] = (each.job, "failed")
    return found


def log(place: Place) -> str:
    """Return all that the steps printed."""
    return "".join(f"== {each.job}: {each.step}: {each.state}\n{each.log}" for each in place.ran)

"""Lines of the verbs that deal with recipes, images and this host."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from imagebuilder.cli.lines.common import ErrorLine, Line, Place
from imagebuilder.image import ImageFacts
from imagebuilder.recipe import Recipe


class ShownRecipe(Recipe):
    """A recipe with all that it inherits."""

    lineage: tuple[str, ...]
    matrix: dict[str, str]  # type: ignore[assignment] # of a variant: the values that it has
    kickstart: str


class ParamUse(Line):
    """A param in a line."""

    param: str
    where: Place


class SecretUse(Line):
    """A secret in a line."""

    name: str
    sources: tuple[str, ...]
    where: Place | None


class OriginLine(Line):
    """Where a value comes from."""

    where: Place
    text: str
    via: tuple[Place, ...]
    uses: tuple[ParamUse, ...]
    secrets: tuple[SecretUse, ...]
    holds: bool = Field(description="false: another value took its place")


class PlanInput(Line):
    """What a step follows from."""

    kind: str
    label: str
    digest: str


class PlanStep(Line):
    """A step of a plan."""

    name: str
    id: str
    reused: bool
    remote: bool = Field(description="its result comes from the remote cache")
    reason: str
    text: str
    inputs: tuple[PlanInput, ...]


class PlanLine(Line):
    """What must be done to have an image."""

    recipe: str
    image_id: str
    engine: str
    locked: bool
    up_to_date: bool
    kernel_args: tuple[str, ...]
    steps: tuple[PlanStep, ...]
    notes: tuple[str, ...]


class ImageLine(ImageFacts):
    """An image that is there: what its image.json holds, and where it is."""

    path: str


class TestLine(Line):
    """Whether an image must be tested."""

    recipe: str
    needed: bool
    reason: str


class ByteDifference(Line):
    """How two builds of an image differ."""

    artefact: str
    path: str
    what: str
    detail: str


class ReproducibleLine(Line):
    """What a second build came to."""

    recipe: str
    image: str
    same: bool
    differences: tuple[ByteDifference, ...]


class LockChange(Line):
    """How a package differs; old is empty for a new one, new for one that is gone."""

    package: str
    old: str
    new: str
    why: str
    security: bool


class LockLine(Line):
    """The lock file of a recipe."""

    recipe: str
    path: str
    packages: int
    written: bool
    changes: tuple[LockChange, ...]


class OutdatedLine(Line):
    """What the mirrors have that a lock file has not."""

    recipe: str
    changes: tuple[LockChange, ...]


class WaivedBy(Line):
    """The waiver of a finding."""

    reason: str
    until: str
    where: Place


class LintLine(Line):
    """Something that would fail later, or is better not as it is."""

    code: str
    severity: Literal["error", "warning", "note"]
    text: str
    where: Place | None
    fix: str
    also: tuple[Place, ...]
    recipes: tuple[str, ...]
    waived: WaivedBy | None


class DifferenceLine(Line):
    """One thing that differs."""

    kind: str
    name: str
    old: str
    new: str
    detail: str
    where: Place | None
    note: str


class Reason(Line):
    """Why an image is affected."""

    path: str
    kind: str
    before: str
    keys: tuple[str, ...]
    via: tuple[Place, ...]
    text: str


class Affected(Line):
    """An image that a change affects."""

    name: str
    effect: str
    reasons: tuple[Reason, ...]
    renamed_from: str
    error: ErrorLine | None
    differences: tuple[DifferenceLine, ...]


class ChangesLine(Line):
    """What a change does to images."""

    before: str
    after: str
    paths: tuple[str, ...]
    images: tuple[Affected, ...]
    removed: tuple[str, ...]


class Measure(Line):
    """A number of both images; null: not known."""

    name: str
    old: float | None
    new: float | None
    unit: Literal["bytes", "seconds", ""]


class RecipesDiff(Line):
    """How two recipes differ."""

    old: str
    new: str
    differences: tuple[DifferenceLine, ...]


class ImagesDiff(RecipesDiff):
    """How two images differ."""

    same: bool
    measures: tuple[Measure, ...]
    with_files: bool
    notes: tuple[str, ...]


class HostFinding(Line):
    """Something of this host that was looked at."""

    name: str
    state: Literal["ok", "warning", "missing"]
    text: str
    fix: str


class Leftover(Line):
    """Something that a livemedia-creator left on this host; kept: why it stays."""

    kind: str
    name: str
    text: str
    kept: str


class CacheEntry(Line):
    """Something in the cache."""

    kind: str
    path: str
    size: int
    used: str


class RemoteEntry(Line):
    """Something in the remote cache."""

    kind: str
    id: str
    recipe: str
    size: int
    used: str


class PathLine(Line):
    """A file or folder that was written."""

    path: str
    recipe: str = ""


class Project(Line):
    """A project that was begun."""

    root: str
    recipe: str
    distro: str
    files: tuple[str, ...]
    kept: tuple[str, ...]


class Remark(Line):
    """Something about a kickstart that was imported."""

    kind: str
    text: str
    where: Place
    fix: str


class Imported(Line):
    """A kickstart that became a recipe."""

    recipe: str
    file: str
    distro: str
    guessed: str
    files: tuple[str, ...]
    lines: int
    remarks: tuple[Remark, ...]
    without_effect: tuple[str, ...]
    refused: tuple[ErrorLine, ...]

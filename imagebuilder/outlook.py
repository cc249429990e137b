"""Outlook: what a plan comes to, without what is needed to carry it out."""

from __future__ import annotations

from dataclasses import dataclass

from imagebuilder.image import Image


@dataclass(frozen=True, slots=True, kw_only=True)
class OutlookStep:
    """A step of a plan, for people.

    Attributes:
        name: the step's name.
        text: what it does.
        reused: whether its result is there already.
        reason: why it is reused, or why it must run.
        remote: whether its result is taken from the remote cache.
    """

    name: str
    text: str
    reused: bool
    reason: str
    remote: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What must be done to have an image, and why.

    Attributes:
        name: the recipe's name.
        image_id: the image's id.
        steps: all steps, in order.
        notes: what has no effect, what is deprecated.
        image: the image, if it is there already.
    """

    name: str
    image_id: str
    steps: tuple[OutlookStep, ...]
    notes: tuple[str, ...]
    image: Image | None

    @property
    def up_to_date(self) -> bool:
        """Whether nothing must be done."""
        return all(step.reused and not step.remote for step in self.steps)

    @property
    def is_remote(self) -> bool:
        """Whether the whole image is to be taken from the remote cache."""
        return self.image is None and self.steps[-1].remote


def why_reused(image: Image) -> str:
    """Return the reason for which no step of an image that is there must run."""
    return f"nothing changed since {image.facts.created}"


NEVER_MADE = "it was never made here"
IN_CACHE = "its result is in the cache"
IN_REMOTE = "its result is taken from the remote cache"

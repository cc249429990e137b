"""In which layers the packages of an image are installed: what recipes share lies below.

Lowest is what every image needs to boot over the network: a kernel, dracut, what fetches the
root, and all that these pull in.  On it is what the fragments of the most basic recipe ask for
beside that, then what those of the recipe that extends it do, and so on.  So a recipe builds on
its parent's layer, and a package more or less costs the layers from there on.

The layers follow from the recipe and the index alone, never from what is in the cache: an image
is installed in the same layers on a machine that has none of them, so its bytes are the same.
A layer is left out if it is no part of the whole, since the recipe takes something out again or
another choice satisfies more: then less is shared.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace

from imagebuilder.engines.base import Input, Request, step_id
from imagebuilder.engines.direct import inputs, package_options, packages, preseed
from imagebuilder.engines.direct.index import Index
from imagebuilder.engines.direct.preseed import Answer
from imagebuilder.engines.direct.resolve import (
    Resolution,
    is_resolved,
    needs_index,
    resolve,
    resolve_names,
    wanted,
)
from imagebuilder.engines.direct.sources import Sources
from imagebuilder.errors import InputError
from imagebuilder.kickstart import Kickstart
from imagebuilder.kickstart.lines import Lines
from imagebuilder.kickstart.parse import parse
from imagebuilder.lockfile import LockFile
from imagebuilder.progress import Reporter

Parts = list[Resolution]
Ask = Callable[[Kickstart, tuple[str, ...] | None], Resolution]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A layer of packages.

    Attributes:
        layer_id: its id, which follows from the inputs and those of the layers below.
        found: what apt is asked for, and all packages of this layer and those below.
        new: the packages of ``found`` that no layer below has, with versions.
        inputs: what it follows from; the id of the layer below is among them.
        answers: what debconf is told before its packages ask.
    """

    layer_id: str
    found: Resolution
    new: dict[str, str]
    inputs: tuple[Input, ...]
    answers: tuple[Answer, ...]


def stages(
    request: Request, sources: Sources, found: Resolution, parts: Sequence[Resolution]
) -> tuple[Stage, ...]:
    """Return the layers of an image, the lowest first; the last has all packages.

    Args:
        request: the recipe and its kickstart.
        sources: where packages come from.
        found: all packages.
        parts: what may be a layer of its own, the lowest first.

    Raises:
        InputError: a secret of a preseed line is not to be had.
    """
    kept = [found]
    for each in reversed(parts):
        if _is_part(each, kept[0]):
            kept.insert(0, each)
    answers = preseed.answers(request.resolved)
    made: list[Stage] = []
    below: dict[str, str] = {}
    for n, each in enumerate(kept):
        is_last = n == len(kept) - 1
        told = tuple(
            answer
            for answer in answers
            # What nobody here owns is told before all else, as it may be meant for any.
            if (
                answer.package in each.versions or (answer.package not in found.versions and n == 0)
            )
            and answer.package not in below
        )
        given = inputs.of_packages(request, sources, each, told)
        if made:
            given += (Input.of("below", made[-1].layer_id, "the layer of packages below"),)
        made.append(
            Stage(
                layer_id=step_id(packages.STEP, (), given),
                found=each if is_last else replace(each, missing=()),
                new={name: each.versions[name] for name in each.versions if name not in below},
                inputs=given,
                answers=told,
            )
        )
        below = dict(each.versions)
    return tuple(made)


def _is_part(less: Resolution, more: Resolution) -> bool:
    return len(less.versions) < len(more.versions) and less.versions.items() <= (
        more.versions.items()
    )


def of_index(whole: Kickstart, found: Resolution, index: Index, reporter: Reporter) -> Parts:
    """Return what may be a layer of its own, by an index."""
    quiet = Reporter(subject=reporter.subject, cancel=reporter.cancel)

    def ask(less: Kickstart, asked: tuple[str, ...] | None) -> Resolution:
        if asked is None:
            return resolve(index, less, quiet)
        return resolve_names(index, asked, less, quiet)

    return parts(whole, found, ask)


def ask_ahead(whole: Kickstart, index: Index, reporter: Reporter) -> None:
    """Have apt answer at once, on all processors, what it is asked one after the other.

    Each answer takes it a second; all are remembered.  What cannot be installed is said by whoever
    asks for it next.
    """
    if needs_index(whole) or is_resolved(index, whole):
        return
    quiet = Reporter(subject=reporter.subject, cancel=reporter.cancel)
    kickstarts = [whole, *(less for less in _kickstarts(whole) if _is_installed_alike(less, whole))]
    try:
        names = _needed(wanted(whole)[0])
    except InputError:
        return
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        asked = [pool.submit(resolve, index, each, quiet) for each in kickstarts]
        asked.append(pool.submit(resolve_names, index, names, whole, quiet))
        for each in asked:
            each.exception()


def _needed(asked: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(each for each in asked if packages.is_needed(each.partition("=")[0])))


def of_lock(lock: LockFile) -> Parts:
    """Return what may be a layer of its own, as it was when a lock file was made."""
    versions = lock.versions()
    return [
        Resolution(
            asked=each.asked,
            versions={name: versions[name] for name in each.packages if name in versions},
            missing=(),
        )
        for each in lock.layers
    ]


def parts(whole: Kickstart, all_of_it: Resolution, ask: Ask) -> Parts:
    """Return what may be a layer of its own, the lowest first.

    Args:
        whole: the kickstart.
        all_of_it: what it comes to.
        ask: says what a kickstart comes to, or some names with a kickstart's way of choosing;
            raises InputError if that cannot be installed.
    """
    found = []
    needed = _needed(all_of_it.asked)
    out = [each for each in all_of_it.asked if each.endswith("-")]
    # What stays out of the whole is told only if it would come in here: more recipes share it.
    for names in (needed, [*needed, *out]):
        with suppress(InputError):  # what is needed cannot be had without the rest
            lowest = ask(whole, tuple(sorted(names)))
            if _is_part(lowest, all_of_it) and not packages.lacking(lowest.versions):
                found.append(lowest)
                break
    for less in _kickstarts(whole):
        if _is_installed_alike(less, whole):
            with suppress(InputError):  # a recipe that nobody builds by itself
                found.append(ask(less, None))
    return found


def _kickstarts(whole: Kickstart) -> Iterator[Kickstart]:
    """Give what the recipes that a kickstart is made of come to, without itself.

    Each has the fragments of one recipe and of those below it, as the whole renders them.
    """
    fragments = [block for block in whole.lines.blocks if block.via]
    # The recipes' own packages are one section, in which each line has its recipe.
    section = list(Lines(block for block in whole.lines.blocks if not block.via))
    own = section[1:-1]
    brought = (block.via[0].file for block in fragments)
    recipes = list(dict.fromkeys([*brought, *(line.where.file for line in own)]))
    for n in range(1, len(recipes)):
        less = [block for block in fragments if block.via[0].file in recipes[:n]]
        named = [line for line in own if line.where.file in recipes[:n]]
        if named:
            less += Lines.of([section[0], *named, section[-1]]).blocks
        with suppress(InputError):
            yield parse(Lines(less), whole.version)


def _is_installed_alike(less: Kickstart, more: Kickstart) -> bool:
    return (
        bool(less.packages)
        and less.weak_dependencies == more.weak_dependencies
        and package_options.left_out(less) == package_options.left_out(more)
    )


def summary(made: Sequence[Stage]) -> str:
    """Return, for people, in which layers packages are installed, or ""."""
    if len(made) < 2:
        return ""
    *most, last = (str(len(each.new)) for each in made)
    return f" in layers of {', '.join(most)} and {last}"

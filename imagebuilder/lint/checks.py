"""Checks of the booted guest that can never hold."""

from __future__ import annotations

from collections.abc import Iterator

from imagebuilder.checks import PackageCheck
from imagebuilder.errors import InputError
from imagebuilder.lint import units
from imagebuilder.lint.finding import Finding, found, of_error
from imagebuilder.lint.subject import Subject
from imagebuilder.project import ResolvedRecipe


def of_recipe(resolved: ResolvedRecipe) -> Iterator[Finding]:
    """Look for scripts that cannot be carried into the guest."""
    try:
        resolved.checks()
    except InputError as error:
        yield from of_error("IB108", error)


def of_packages(subject: Subject) -> Iterator[Finding]:
    """Look for packages that checks ask for and the image does not get."""
    if subject.packages is None or any(units.installs(each) for each in subject.scripts):
        return
    for n, check in enumerate(subject.resolved.recipe.checks):
        if isinstance(check, PackageCheck) and check.installed:
            name = check.package.partition(":")[0]
            if name not in subject.packages:
                text = f"a check asks for the package {name}, which the image does not get"
                yield found("IB205", text, subject.resolved.place(f"checks.{n}.package"))

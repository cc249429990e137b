"""What tests of projects share."""

from __future__ import annotations

import pytest

from imagebuilder.errors import InputError
from imagebuilder.project import Project
from imagebuilder.recipe import Recipe


def refusal(project: Project, wanted: str | Recipe) -> InputError:
    with pytest.raises(InputError) as caught:
        project.resolve(wanted)
    return caught.value

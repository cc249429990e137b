"""What a change of recipes, fragments and files does to the images of a project."""

from imagebuilder.changes.affected import find_changes
from imagebuilder.changes.compare import compare_recipes
from imagebuilder.changes.difference import Difference
from imagebuilder.changes.groups import Group, github_matrix, gitlab_pipeline, grouped
from imagebuilder.changes.model import Affected, Changes

__all__ = [
    "Affected",
    "Changes",
    "Difference",
    "Group",
    "compare_recipes",
    "find_changes",
    "github_matrix",
    "gitlab_pipeline",
    "grouped",
]

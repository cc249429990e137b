"""A new project: files that build, test and publish at once, to be changed from there."""

from imagebuilder.scaffold.project import Scaffold, init_project

__all__ = ["Scaffold", "init_project"]

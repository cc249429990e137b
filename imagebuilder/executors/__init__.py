"""Executors: where images are made.  Here by default; found through entry points otherwise."""

from imagebuilder.executors.base import Executor, Local, find, of_options

__all__ = ["Executor", "Local", "find", "of_options"]

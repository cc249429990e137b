"""Runs the pipelines of ``ci/pipelines`` on this machine; see ``place.py`` for what is not real."""

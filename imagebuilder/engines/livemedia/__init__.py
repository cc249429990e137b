"""The ``livemedia`` engine: Anaconda installs, driven by lorax' livemedia-creator."""

from imagebuilder.engines.livemedia.engine import LivemediaEngine

__all__ = ["LivemediaEngine"]

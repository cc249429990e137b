"""An engine that knows the packages of the tests."""

from __future__ import annotations

import pytest
from lintkit import (
    KnowingEngine,
)

from imagebuilder import engines


@pytest.fixture
def knowing_engine(monkeypatch: pytest.MonkeyPatch) -> KnowingEngine:
    engine = KnowingEngine()
    monkeypatch.setattr(engines, "find", lambda name, where=None: engine)
    return engine

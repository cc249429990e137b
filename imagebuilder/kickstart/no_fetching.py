"""Load pykickstart without what it would fetch kickstarts from URLs with.

``pykickstart.load`` imports requests, for URLs that it is never given here: includes are
followed by :mod:`imagebuilder.kickstart.flatten`, which refuses them.  Loading requests takes a
tenth of the time that a build with nothing to do may take.
"""

from __future__ import annotations

import sys
from types import ModuleType


def _load() -> None:
    if "requests" in sys.modules or "pykickstart.load" in sys.modules:
        return
    requests, exceptions = ModuleType("requests"), ModuleType("requests.exceptions")
    for name in ("RequestException", "SSLError"):
        setattr(exceptions, name, type(name, (OSError,), {}))
    stand_ins = {"requests": requests, "requests.exceptions": exceptions}
    sys.modules.update(stand_ins)
    try:
        import pykickstart.load  # noqa: F401
    finally:
        # Whoever else imports requests gets the real one.
        for name in stand_ins:
            del sys.modules[name]


_load()

from __future__ import annotations

import subprocess
import sys


def test_requests_is_not_loaded_and_is_there_for_others() -> None:
    code = (
        "import sys, imagebuilder.kickstart, pykickstart.load\n"
        "assert not [name for name in sys.modules if name.startswith('requests')]\n"
        "import requests\n"
        "assert requests.get and requests.exceptions.SSLError\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)

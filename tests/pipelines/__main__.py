"""``ci/pipeline-local``: one change of a recipe, from lint to a promoted release."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path

import seaweed
from platformdirs import user_cache_path

from pipelines import change, place


def main() -> int:
    """Run what the command line names; return its exit status."""
    parser = argparse.ArgumentParser(prog="ci/pipeline-local", description=__doc__)
    parser.add_argument("system", choices=("github", "gitlab"))
    parser.add_argument(
        "--break",
        dest="broken",
        choices=tuple(change.BROKEN),
        help="break the recipe: the run must stop, and say at which line",
    )
    parser.add_argument("--keep", action="store_true", help="leave the clones where they are")
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="pipeline-"))
    cache = Path(os.environ.get("IMAGEBUILDER_CACHE") or user_cache_path("imagebuilder"))
    try:
        with seaweed.running(folder / "s3") as server:
            here = place.Place(folder=folder / "runs", cache=cache, server=server, say=_say)
            passed = change.run(here, args.system, args.broken)
            passed = passed and change.nightly(here, args.system)
        print()
        for each in here.ran:
            if each.state != "skipped":
                print(f"{each.state:7}  {each.job}  {each.step}")
    finally:
        if not args.keep:
            shutil.rmtree(folder, ignore_errors=True)
    return 0 if passed else 1


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())

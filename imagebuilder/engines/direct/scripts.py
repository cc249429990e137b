"""Run the ``%post`` sections."""

from __future__ import annotations

import secrets
from pathlib import Path

from imagebuilder import command
from imagebuilder.command import Result
from imagebuilder.engines.direct.tree import Tree, environment
from imagebuilder.errors import StepError
from imagebuilder.kickstart import Kickstart, Script
from imagebuilder.progress import Reporter

TIMEOUT = 3600.0  # seconds for one script
SYSIMAGE = Path("/mnt/sysimage")  # where Anaconda has the tree while %post --nochroot runs


def run_all(tree: Tree, kickstart: Kickstart, project: Path, reporter: Reporter) -> tuple[str, ...]:
    """Run all ``%post`` sections in the order in which they stand.

    Args:
        tree: the image.
        kickstart: whose scripts.
        project: the folder that a ``%post --nochroot`` starts in.
        reporter: told of each script.

    Returns:
        a note for each script that failed and was allowed to.

    Raises:
        StepError: a script with ``--erroronfail`` failed; with its output.
    """
    notes: list[str] = []
    scripts = [script for script in kickstart.scripts if script.kind == "post"]
    for n, script in enumerate(scripts, 1):
        reporter.progress("configure", n, len(scripts), "scripts", f"%post of {script.where}")
        log = tree.log.with_name(f"post-{n}.log")
        result = _run(tree, script, project, log, reporter)
        if script.log:
            _write_log(tree, script, result)
        if result.returncode == 0:
            continue
        error = command.failure(result, what=f"%post of {script.where}", log=log)
        if script.error_on_fail:
            raise StepError(
                f"%post failed: exit status {result.returncode}",
                where=script.where,
                excerpt=error.excerpt,
                log=log,
                fix="mend the script; what it printed last stands above",
            )
        note = f"{script.where}: %post failed with exit status {result.returncode}; the build "
        notes.append(note + "went on, since it has no --erroronfail")
        reporter.note("configure", notes[-1])
    return tuple(notes)


def _run(tree: Tree, script: Script, project: Path, log: Path, reporter: Reporter) -> Result:
    # The tree's /tmp is in memory while it is made: nothing of the script stays in the image.
    inside = f"/tmp/ks-script-{secrets.token_hex(4)}"  # noqa: S108
    tree.write(inside, script.body, mode=0o700)
    try:
        if script.in_chroot:
            return Tree(root=tree.root, log=log, epoch=tree.epoch).run(
                [script.interpreter, inside], what="%post", timeout=TIMEOUT, check=False
            )
        return command.run(
            [script.interpreter, str(tree.path(inside))],
            timeout=TIMEOUT,
            cancel=reporter.cancel,
            log=log,
            cwd=project,
            env={**environment(tree.epoch), "ANA_INSTALL_PATH": str(SYSIMAGE)},
            check=False,
        )
    finally:
        tree.remove(inside)


def _write_log(tree: Tree, script: Script, result: Result) -> None:
    path = script.log
    if not script.in_chroot:
        # Outside the chroot the path is the installer's; only the image's part of it lasts.
        if not path.startswith(f"{SYSIMAGE}/"):
            return
        path = path.removeprefix(str(SYSIMAGE))
    tree.write(path, result.stdout + result.stderr)

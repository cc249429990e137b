"""Run the script sections: ``%pre``, ``%pre-install``, ``%post`` and ``%onerror``.

A script outside the image sees this host, with the rights of who builds; its ``/tmp`` is one of
the build's own, which all such scripts of a build share and which is gone afterwards.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from imagebuilder import command, sandbox
from imagebuilder.command import Result
from imagebuilder.engines.direct.tree import Tree, environment
from imagebuilder.errors import ImageBuilderError, StepError
from imagebuilder.kickstart import Kickstart, Script
from imagebuilder.kickstart.document import ScriptKind
from imagebuilder.progress import Reporter

TIMEOUT = 3600.0  # seconds for one script
SYSIMAGE = Path("/mnt/sysimage")  # where Anaconda has the tree while scripts run outside of it
TMP = Path("/tmp")  # noqa: S108 - a script's name for the folder that it has to itself


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """Runs the scripts of one build.

    Attributes:
        kickstart: whose scripts.
        project: the folder that scripts outside the image start in.
        tmp: the folder that is ``/tmp`` to them.
        logs: the folder that gets what each says.
        epoch: ``SOURCE_DATE_EPOCH``.
        reporter: told of each script, and asked whether to stop.
    """

    kickstart: Kickstart
    project: Path
    tmp: Path
    logs: Path
    epoch: int
    reporter: Reporter

    def run_all(self, kind: ScriptKind, tree: Tree | None = None) -> tuple[str, ...]:
        """Run all scripts of a kind in the order in which they stand.

        Args:
            kind: which.
            tree: the image, once there is one; it is at ``/mnt/sysimage`` then.

        Returns:
            a note for each script that failed and was allowed to.

        Raises:
            StepError: a script with ``--erroronfail`` failed; with its output.
        """
        notes: list[str] = []
        scripts = [script for script in self.kickstart.scripts if script.kind == kind]
        for n, script in enumerate(scripts, 1):
            text = f"%{kind} of {script.where}"
            self.reporter.progress("configure", n, len(scripts), "scripts", text)
            log = self.logs / f"{kind}-{n}.log"
            result = self._run(script, tree, log)
            if script.log:
                self._write_log(script, tree, result)
            if result.returncode == 0:
                continue
            error = command.failure(result, what=text, log=log)
            if script.error_on_fail and kind != "onerror":
                raise StepError(
                    f"%{kind} failed: exit status {result.returncode}",
                    where=script.where,
                    excerpt=error.excerpt,
                    log=log,
                    fix="mend the script; what it printed last stands above",
                )
            notes.append(
                f"{script.where}: %{kind} failed with exit status {result.returncode}; the build "
                "went on, since it has no --erroronfail"
            )
            self.reporter.note("configure", notes[-1])
        return tuple(notes)

    def after_failure(self, tree: Tree | None) -> None:
        """Run the ``%onerror`` scripts; whatever they do, the first error stays the error."""
        try:
            self.run_all("onerror", tree)
        except (ImageBuilderError, OSError) as error:
            self.reporter.note("configure", f"%onerror could not be run: {error}")

    def _run(self, script: Script, tree: Tree | None, log: Path) -> Result:
        name = f"ks-script-{secrets.token_hex(4)}"
        if tree and _is_inside(script):
            # The tree's /tmp is in memory while it is made: nothing stays in the image.
            inside = f"{TMP}/{name}"
            tree.write(inside, script.body, mode=0o700)
            try:
                return Tree(root=tree.root, log=log, epoch=tree.epoch).run(
                    [script.interpreter, inside], what="%post", timeout=TIMEOUT, check=False
                )
            finally:
                tree.remove(inside)
        file = self.tmp / name
        file.write_text(script.body, encoding="utf-8")
        file.chmod(0o700)
        try:
            return command.run(
                self._outside([script.interpreter, f"{TMP}/{name}"]),
                timeout=TIMEOUT,
                cancel=self.reporter.cancel,
                log=log,
                cwd=self.project,
                env={**environment(self.epoch), "ANA_INSTALL_PATH": str(SYSIMAGE)},
                check=False,
            )
        finally:
            file.unlink(missing_ok=True)

    def _outside(self, argv: Sequence[str]) -> list[str]:
        return sandbox.with_private_tmp(argv, self.tmp, self.project)

    def _write_log(self, script: Script, tree: Tree | None, result: Result) -> None:
        path, text = Path(os.path.normpath(script.log)), result.stdout + result.stderr
        if _is_inside(script):
            if tree:
                tree.write(script.log, text)
        elif path.is_relative_to(SYSIMAGE):
            if tree:
                tree.write(f"/{path.relative_to(SYSIMAGE)}", text)
        elif path.is_relative_to(TMP):
            # What else there is outside is the host's: a script's output is no reason to
            # write to it.
            into = self.tmp / path.relative_to(TMP)
            into.parent.mkdir(parents=True, exist_ok=True)
            into.write_text(text, encoding="utf-8")


def _is_inside(script: Script) -> bool:
    return script.kind == "post" and script.in_chroot

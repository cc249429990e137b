"""What is shown of a failed installation."""

from __future__ import annotations

from pathlib import Path

from imagebuilder.engines.direct.package_failure import explained
from imagebuilder.errors import StepError

# As mmdebstrap 1.3 prints it; apt names all packages in one line.
DPKG = """\
Setting up kmod (30+20221128-1) ...
Setting up locales (2.36-9+deb12u14) ...
*** update-locale: Error: invalid locale settings:  LANG=fr_FR.UTF-8
dpkg: error processing package locales (--configure):
 installed locales package post-installation script subprocess returned error exit status 255
{others}
Errors were encountered while processing:
 locales
E: Sub-process env returned an error code (1)
E: setup failed: E: apt-get -o Dir::Bin::dpkg=env --yes install {packages} failed
I: main() received signal PIPE: waiting for setup...
E: mmdebstrap failed to run
[exit status 25 after 29.7 s]
"""


def failure(tmp_path: Path, text: str) -> StepError:
    log = tmp_path / "packages.log"
    log.write_text(text)
    return explained(StepError("installing the packages: exit status 25", log=log), log)


def test_the_package_and_its_reason_are_shown_not_the_end(tmp_path: Path) -> None:
    others = "\n".join(f"Setting up other{n} (1) ..." for n in range(300))
    error = failure(tmp_path, DPKG.format(others=others, packages="a " * 500))
    assert error.what.endswith("dpkg gave up locales")
    assert "invalid locale settings:  LANG=fr_FR.UTF-8" in error.excerpt
    assert "other250" not in error.excerpt
    assert error.log == tmp_path / "packages.log"


def test_without_a_package_the_last_lines_that_explain(tmp_path: Path) -> None:
    lines = [f"line {n}" for n in range(50)]
    lines += ["E: Failed to fetch http://x/y.deb  403", "E: Unable to fetch some archives"]
    lines += ["E: setup failed: E: apt-get " + "package " * 100, "E: mmdebstrap failed to run"]
    error = failure(tmp_path, "\n".join(lines) + "\n")
    assert error.excerpt.splitlines()[-2:] == lines[50:52]
    assert len(error.excerpt.splitlines()) == 12


def test_a_mirror_that_has_changed_is_to_be_looked_at_again(tmp_path: Path) -> None:
    error = failure(tmp_path, "E: Failed to fetch copy:/repo/./x.deb  Hash Sum mismatch\n")
    assert "--refresh" in error.fix
    assert failure(tmp_path, "E: Failed to fetch http://x/y.deb  403  Forbidden\n").fix == ""


def test_long_lines_are_cut_and_a_lost_log_leaves_the_error(tmp_path: Path) -> None:
    error = failure(tmp_path, "E: " + "x" * 5000 + "\n")
    assert len(error.excerpt) < 250
    first = StepError("installing the packages: exit status 25", excerpt="the end")
    assert explained(first, tmp_path / "nosuch") is first


def test_a_full_disk_is_called_by_its_name(tmp_path: Path) -> None:
    said = "cannot copy extracted data for './x' to '/x.dpkg-new': No space left on device\n"
    error = failure(tmp_path, f"dpkg: error processing archive /x.deb (--unpack):\n {said}")
    assert error.fix.startswith("make room on the disk of the cache")
    assert "No space left" in error.excerpt
    plain = failure(tmp_path, f"E: {said}")
    assert plain.fix == error.fix
    assert plain.what.endswith(": the disk is full")

"""Every command and section that is honoured, in one image that is booted once."""

from __future__ import annotations

import base64
import hashlib
import shutil
import subprocess
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import quote

import pytest
from support import ROOT, Cli, copy_project

import imagebuilder

pytestmark = pytest.mark.slow
DATA = ROOT / "tests/data/everything"

# What could break a command line, a URL, a script or a list of debconf's answers.
SECRETS = {
    "root_password": 'root\'s "own" $word',
    "repo_password": "p#ss?w:rd&+[1]",
    "site_word": "a word; for 'debconf'",
    "site_key": "-----BEGIN KEY-----\nAAAA$(reboot)`BBBB\\n\n-----END KEY-----",
}

CONTROL = """\
Package: {name}
Version: {version}
Architecture: all
Maintainer: Nobody <nobody@example.org>
Description: a package of the tests
"""


def repository(folder: Path, work: Path) -> Path:
    """Make a flat repository with two packages, without a signature."""
    folder.mkdir()
    stanzas = []
    for name, version in (("site-tool", "1.0"), ("hello", "99.0")):
        tree = work / name
        program = tree / "usr/bin" / name
        program.parent.mkdir(parents=True)
        program.write_text('#!/bin/sh\necho "the site\'s tool"\n')
        program.chmod(0o755)
        (tree / "DEBIAN").mkdir()
        control = CONTROL.format(name=name, version=version)
        (tree / "DEBIAN/control").write_text(control)
        file = folder / f"{name}.deb"
        subprocess.run(
            ["dpkg-deb", "--root-owner-group", "--build", str(tree), str(file)],
            check=True,
            capture_output=True,
        )
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        size = file.stat().st_size
        stanzas.append(f"{control}Filename: ./{file.name}\nSize: {size}\nSHA256: {digest}\n")
    packages = "\n".join(stanzas)
    (folder / "Packages").write_text(packages)
    digest = hashlib.sha256(packages.encode()).hexdigest()
    (folder / "Release").write_text(
        "Origin: The Site\nLabel: Tests\nDate: Thu, 01 Jan 2026 00:00:00 UTC\n"
        f"SHA256:\n {digest} {len(packages.encode())} Packages\n"
    )
    return folder


class Guarded(SimpleHTTPRequestHandler):
    """Files for those who know the password."""

    def do_GET(self) -> None:
        said = self.headers.get("Authorization", "")
        if (
            said
            != "Basic " + base64.b64encode(f"site:{SECRETS['repo_password']}".encode()).decode()
        ):
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="site"')
            self.end_headers()
            return
        super().do_GET()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[imagebuilder.Project]:
    folder = copy_project(tmp_path_factory.mktemp("everything"))
    shutil.copytree(DATA, folder, dirs_exist_ok=True, symlinks=True)
    made = repository(tmp_path_factory.mktemp("site") / "site", tmp_path_factory.mktemp("packages"))
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Guarded, directory=str(made)))
    Thread(target=server.serve_forever, daemon=True).start()
    kickstart = folder / "kickstarts/everything.ks"
    address = f"127.0.0.1:{server.server_port}"
    kickstart.write_text(kickstart.read_text().replace("REPOSITORY", address))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in SECRETS.items():
            patch.setenv(f"IMAGEBUILDER_SECRET_{name.upper()}", value)
        yield imagebuilder.Project.open(folder)
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def image(host_tools: None, project: imagebuilder.Project, cache_dir: Path) -> imagebuilder.Image:
    return imagebuilder.build_image(
        project, "everything", imagebuilder.Options.make(cache_dir=cache_dir)
    )


def test_the_booted_machine_is_what_the_kickstart_says(
    image: imagebuilder.Image, project: imagebuilder.Project, cache_dir: Path
) -> None:
    options = imagebuilder.Options.make(cache_dir=cache_dir)
    report = imagebuilder.smoke_image(project, image, options)
    assert [each for each in report.checks if each.outcome != "passed"] == []
    assert len(report.checks) > 45
    assert report.passed, report.boots[0].failure


def test_what_has_no_effect_or_came_to_nothing_is_said(image: imagebuilder.Image) -> None:
    notes = "\n".join(image.facts.notes)
    for text in (
        "part has no effect",
        "reboot has no effect",
        "bootloader --timeout has no effect",
        "services --disabled=no-such-service: the image has no such unit",
        "%traceback has no effect",
        "package nosuch-package-* is missing",
    ):
        assert text in notes, text
    logs = {path.name for path in (image.path / "logs").iterdir()}
    assert {"pre-1.log", "pre-install-1.log", "post-1.log"} <= logs
    assert not any(name.startswith(("onerror", "traceback")) for name in logs)


def test_no_password_is_in_any_file_beside_the_rootfs(image: imagebuilder.Image) -> None:
    hidden = ["wonderland", "through-the-glass", "$6$saltsalt", quote(SECRETS["repo_password"])]
    hidden += [line for value in SECRETS.values() for line in value.splitlines() if "-" not in line]
    assert "AAAA$(reboot)`BBBB\\n" in hidden
    for path in image.path.rglob("*"):
        if path.is_file() and path.name not in ("rootfs.squashfs", "initrd.img", "vmlinuz"):
            data = path.read_bytes()
            for secret in hidden:
                assert secret.encode() not in data, path


REFUSED = """\
harddrive --dir=/x --partition=sda1
selinux --enforcing
firstboot --enable
services --enabled='a;b'
%addon com_redhat_kdump --enable
%end
"""


def test_what_is_refused_has_its_lines_before_any_work_starts(
    project: imagebuilder.Project, cli: Cli
) -> None:
    root = project.root
    (root / "kickstarts/refused.ks").write_text(REFUSED)
    (root / "recipes/refused.toml").write_text(
        'extends = "base"\nkickstarts = ["refused.ks"]\npreseed = ["a a/b boolean perhaps"]\n'
        '[[files]]\nsource = "nosuch"\npath = "/x"\n'
    )
    result = cli("build", "refused", cwd=root)
    assert result.returncode == 2
    for place, what in (
        ("kickstarts/refused.ks:1", "harddrive"),
        ("kickstarts/refused.ks:2", "--enforcing"),
        ("kickstarts/refused.ks:3", "--enable"),
        ("kickstarts/refused.ks:4", "a;b"),
        ("kickstarts/refused.ks:5", "com_redhat_kdump"),
        ("recipes/refused.toml:3", "neither true nor false"),
        ("recipes/refused.toml:4", "no file 'nosuch'"),
    ):
        line = next(each for each in result.stderr.splitlines() if place in each)
        assert what in line
    assert not (root / "build/refused").exists()


def test_onerror_is_run_and_the_first_error_stays(
    image: imagebuilder.Image, project: imagebuilder.Project, cli: Cli
) -> None:
    root = project.root
    (root / "kickstarts/fails.ks").write_text(
        "%onerror\necho onerror saw: $(ls /mnt/sysimage/etc/hostname /tmp/of-pre)\nexit 5\n%end\n"
        "%post --erroronfail\necho the reason\nexit 3\n%end\n"
    )
    (root / "recipes/fails.toml").write_text('extends = "everything"\nkickstarts = ["fails.ks"]\n')
    result = cli("build", "fails", cwd=root)
    assert result.returncode == 1
    assert "kickstarts/fails.ks:5: %post failed: exit status 3" in result.stderr
    logs = "".join(path.read_text() for path in (root / "build/fails/failed").glob("onerror*"))
    assert "onerror saw:" in logs
    assert "/tmp/of-pre" in logs

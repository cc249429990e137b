"""Real builds: what is in the image, what is made again, what bad input leaves behind."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from support import Cli

import imagebuilder
from imagebuilder.image import ARTEFACTS

pytestmark = pytest.mark.slow


def listing(image: imagebuilder.Image) -> dict[str, str]:
    """Return the paths in the rootfs with what ls says of them."""
    out = subprocess.run(
        ["unsquashfs", "-lln", str(image.rootfs)], capture_output=True, text=True, check=True
    ).stdout
    found = {}
    for line in out.splitlines():
        parts = re.match(r"(\S{10}) (\S+) +\S+ \S+ \S+ squashfs-root(/[^\n]*)?$", line)
        if parts:
            path, _, target = (parts[3] or "/").partition(" -> ")
            found[path] = f"{parts[1]} {parts[2]} {target}".strip()
    return found


def content(image: imagebuilder.Image, path: str) -> str:
    return subprocess.run(
        ["unsquashfs", "-cat", str(image.rootfs), path.lstrip("/")],
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_image_is_whole_and_its_facts_are_true(base_image: imagebuilder.Image) -> None:
    base_image.verify()
    facts = base_image.facts
    assert {each.name for each in facts.artefacts} == set(ARTEFACTS)
    for each in facts.artefacts:
        data = (base_image.path / each.name).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (each.size, each.sha256)
    assert base_image.initrd.stat().st_size % 4 == 0, "another archive can follow"
    packages = {each.name: each.version for each in base_image.packages().packages}
    assert len(packages) == facts.package_count
    assert {"openssh-server", "dracut-live", "systemd-sysv"} <= set(packages)
    components = json.loads((base_image.path / "sbom.cdx.json").read_text())["components"]
    assert {each["name"]: each["version"] for each in components} == packages
    assert facts.kernel_release in base_image.kernel.read_bytes()[:65536].decode("latin-1")
    assert [step.name for step in facts.steps] == [
        "packages",
        "configure",
        "initrd",
        "rootfs",
        "image",
    ]
    assert (base_image.path.parent / "latest").resolve() == base_image.path
    assert {path.name for path in base_image.path.parent.iterdir()} == {
        ".lock",
        "latest",
        base_image.id,
    }
    assert facts.tools["mmdebstrap"]


def test_nothing_is_in_the_image_that_a_fleet_must_not_share(
    base_image: imagebuilder.Image,
) -> None:
    paths = listing(base_image)
    assert len(paths) > 5000
    forbidden = re.compile(
        r"^/(etc/ssh/ssh_host_|var/lib/systemd/random-seed|var/lib/apt/lists/.|etc/hostname$"
        r"|var/cache/apt/archives/.*\.deb|boot/initrd|etc/shadow-|var/log/.*\.log|dev/.)"
        r"|mmdebstrap|\.diverted$"
    )
    assert [path for path in paths if forbidden.search(path)] == []
    assert content(base_image, "/etc/machine-id") == ""
    assert paths["/usr/sbin/update-initramfs"].startswith("-rwx")
    assert re.search(r"^root:[!*]", content(base_image, "/etc/shadow"), re.MULTILINE)


def test_second_build_runs_no_tool(
    base_image: imagebuilder.Image, cli: Cli, tmp_path: Path
) -> None:
    project = base_image.path.parents[2]
    before = sorted(path for path in project.rglob("*"))
    # No program can be found at all: what is run would fail.
    result = cli("build", "base", cwd=project, env={"PATH": str(tmp_path)})
    assert result.returncode == 0, result.stderr
    assert "up to date" in result.stderr
    assert "nothing changed" in result.stderr
    assert sorted(path for path in project.rglob("*")) == before
    assert cli("build", "-q", "base", cwd=project).returncode == 0


def test_changed_post_runs_what_follows_from_it_and_says_so(
    base_image: imagebuilder.Image,
    base_project: imagebuilder.Project,
    cache_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    options = imagebuilder.Options.make(cache_dir=cache_dir)
    fragment = base_project.root / "kickstarts/base/serial-console.ks"
    text = fragment.read_text()
    try:
        fragment.write_text(text + "\n%post --erroronfail\necho changed > /etc/motd\n%end\n")
        plan = imagebuilder.plan_image(base_project, "base", options)
        reasons = {step.name: (step.reused, step.reason) for step in plan.steps}
        assert reasons["packages"][0]
        assert not reasons["configure"][0]
        line = fragment.read_text().splitlines().index("%post --erroronfail") + 1
        assert f"kickstarts/base/serial-console.ks:{line}" in reasons["configure"][1]
        image = imagebuilder.build_image(base_project, "base", options)
        assert image.id == plan.image_id != base_image.id
        assert {step.name for step in image.facts.steps if step.reused} == {"packages", "initrd"}
        assert content(image, "/etc/motd") == "changed\n"
        # dracut itself would have made the same, and so would whoever else builds it.
        shutil.rmtree(cache_dir / "initrds")
        shutil.rmtree(image.path)
        monkeypatch.setenv("TZ", "Asia/Tokyo")
        monkeypatch.setenv("LANG", "de_DE.UTF-8")
        umask = os.umask(0o027)
        try:
            made = imagebuilder.build_image(base_project, "base", options)
        finally:
            os.umask(umask)
        assert {step.name for step in made.facts.steps if step.reused} == {"packages"}
        assert made.facts.artefacts == image.facts.artefacts
    finally:
        fragment.write_text(text)
    again = imagebuilder.plan_image(base_project, "base", options)
    assert again.up_to_date
    assert again.image_id == base_image.id


def test_a_build_without_a_network(
    base_image: imagebuilder.Image, base_project: imagebuilder.Project, cli: Cli
) -> None:
    root = base_project.root
    fragment, recipe = root / "kickstarts/base/serial-console.ks", root / "recipes/new.toml"
    text = fragment.read_text()
    alone = ("unshare", "--net", "--")
    # Nothing changed: no network is needed, whether that is said or not.
    assert cli("build", "base", cwd=root, before=alone).returncode == 0
    try:
        # Scripts of an offline build have no network either, wherever it runs.
        fragment.write_text(
            text + "\n%post --erroronfail\ntest $(tail -n +3 /proc/net/dev | wc -l) -eq 1\n%end\n"
        )
        result = cli("build", "--offline", "base", cwd=root)
        assert result.returncode == 0, result.stderr
        # A package that no other test installs: they share the cache.
        recipe.write_text('extends = "base"\npackages = ["figlet"]\n')
        result = cli("build", "--offline", "new", cwd=root)
        assert result.returncode == 1
        assert "not in the cache" in result.stderr
        assert "--offline" in result.stderr
        assert not list((root / "build/new").glob("*/image.json"))
    finally:
        fragment.write_text(text)
        recipe.unlink(missing_ok=True)


RECIPE = """
extends = "base"
kickstarts = ["everything.ks"]
"""

EVERYTHING = r"""
lang de_DE.UTF-8 --addsupport=en_US.UTF-8
keyboard --vckeymap=de --xlayouts='de (nodeadkeys)'
timezone Europe/Berlin --utc
timesource --ntp-server=ntp.example.org
group --name=operators --gid=4242
user --name=alice --groups=operators --uid=4300 --gecos="Alice A." --password=wonderland --plaintext
sshkey --username=alice "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExample alice"
rootpw --iscrypted $6$abc$def
network --hostname=testhost
network --device=eth7 --bootproto=static --ip=192.0.2.7 --netmask=255.255.255.0 --gateway=192.0.2.1
firewall --enabled --service=ssh --port=5900-5910:tcp
bootloader --append="nosmt mitigations=auto"
services --disabled=ssh
part / --size=4096
reboot
%packages --exclude-weakdeps
locales
nftables
python3-minimal
systemd-timesyncd
tzdata
-ca-certificates
%end
%post --log=/root/post.log
a=(one two three)
echo "shell ${#a[@]}" 2>&1
%end
%post --interpreter=/usr/bin/python3 --erroronfail
import os
open("/etc/by-python", "w").write(f"pid namespace of its own: {os.getpid() < 5000}\n")
%end
%post --nochroot --erroronfail
test -d recipes
cp recipes/everything.toml /mnt/sysimage/etc/from-outside
%end
%post
exit 7
%end
"""


@pytest.fixture(scope="module")
def everything(
    base_image: imagebuilder.Image, base_project: imagebuilder.Project, cache_dir: Path
) -> imagebuilder.Image:
    """An image that uses most of what the direct engine honours."""
    post = EVERYTHING.replace("%post --log=", "%post --interpreter=/bin/bash --log=")
    (base_project.root / "kickstarts/everything.ks").write_text(post)
    (base_project.root / "recipes/everything.toml").write_text(RECIPE)
    return imagebuilder.build_image(
        base_project, "everything", imagebuilder.Options.make(cache_dir=cache_dir)
    )


def test_commands_are_applied(everything: imagebuilder.Image) -> None:
    paths = listing(everything)

    def lines(path: str) -> list[str]:
        return content(everything, path).splitlines()

    assert lines("/etc/locale.conf") == ["LANG=de_DE.UTF-8"]
    assert paths["/etc/default/locale"].endswith(" ../locale.conf")
    assert paths["/etc/localtime"].endswith("/usr/share/zoneinfo/Europe/Berlin")
    assert "KEYMAP=de" in lines("/etc/vconsole.conf")
    assert 'XKBVARIANT="nodeadkeys"' in lines("/etc/default/keyboard")
    assert "NTP=ntp.example.org" in lines("/etc/systemd/timesyncd.conf.d/kickstart.conf")
    assert "operators:x:4242:alice" in lines("/etc/group")
    assert "alice:x:4300:4300:Alice A.:/home/alice:/bin/bash" in lines("/etc/passwd")
    shadow = dict(line.split(":")[:2] for line in lines("/etc/shadow"))
    assert shadow["root"] == "$6$abc$def"
    assert shadow["alice"].startswith("$y$")
    assert paths["/home/alice/.ssh/authorized_keys"].startswith("-rw------- 4300/4300")
    assert lines("/etc/hostname") == ["testhost"]
    # The file of the named interface comes before that of base, which matches them all.
    network = content(everything, "/etc/systemd/network/50-kickstart-eth7.network")
    assert "Type=ether" in content(everything, "/etc/systemd/network/51-kickstart-link.network")
    assert "Name=eth7" in network
    assert "Address=192.0.2.7/24" in network
    rules = content(everything, "/etc/nftables.conf")
    assert "tcp dport 22 accept" in rules
    assert "tcp dport 5900-5910 accept" in rules
    assert "/etc/systemd/system/sysinit.target.wants/nftables.service" in paths
    assert "/etc/systemd/system/multi-user.target.wants/ssh.service" not in paths
    assert lines("/root/post.log") == ["shell 3"]
    assert lines("/etc/by-python") == ["pid namespace of its own: True"]
    assert lines("/etc/from-outside") == RECIPE.splitlines()
    assert everything.facts.kernel_args[-2:] == ("nosmt", "mitigations=auto")
    assert "ca-certificates" not in {each.name for each in everything.packages().packages}


def test_what_has_no_effect_or_failed_is_said(everything: imagebuilder.Image) -> None:
    notes = "\n".join(everything.facts.notes)
    part, reboot = (
        EVERYTHING.splitlines().index(each) + 1 for each in ("part / --size=4096", "reboot")
    )
    assert f"kickstarts/everything.ks:{part}: part has no effect" in notes
    assert f"kickstarts/everything.ks:{reboot}: reboot has no effect" in notes
    assert "%post failed with exit status 7" in notes


def test_no_secret_is_in_any_file_beside_the_rootfs(everything: imagebuilder.Image) -> None:
    for path in everything.path.rglob("*"):
        if path.is_file() and path.name not in ("rootfs.squashfs", "initrd.img", "vmlinuz"):
            data = path.read_bytes()
            assert b"wonderland" not in data, path
            assert b"$6$abc$def" not in data, path
    digest = hashlib.sha256(
        b"user --name=alice --groups=operators --uid=4300 --gecos"
        b'="Alice A." --password=wonderland --plaintext'
    ).hexdigest()
    assert digest[:32] not in (everything.path / "image.json").read_text()


def test_failing_post_ends_the_build_and_leaves_the_image(
    base_image: imagebuilder.Image, base_project: imagebuilder.Project, cli: Cli
) -> None:
    root = base_project.root
    (root / "kickstarts/fails.ks").write_text(
        "# a comment\n%post --erroronfail\necho this is the reason\nexit 3\n%end\n"
    )
    recipe = root / "recipes/fails.toml"
    recipe.write_text('extends = "base"\n')
    good = cli("build", "--json", "fails", cwd=root)
    assert good.returncode == 0, good.stderr
    latest = (root / "build/fails/latest").resolve()
    before = {path: path.stat().st_mtime_ns for path in latest.rglob("*")}

    recipe.write_text('extends = "base"\nkickstarts = ["fails.ks"]\n')
    bad = cli("build", "fails", cwd=root)
    assert bad.returncode == 1
    assert "kickstarts/fails.ks:2: %post failed: exit status 3" in bad.stderr
    assert "| this is the reason" in bad.stderr
    log = re.search(r"the whole log: (\S+)", bad.stderr)
    assert log
    assert "this is the reason" in Path(log[1]).read_text()
    assert (root / "build/fails/latest").resolve() == latest
    assert {path: path.stat().st_mtime_ns for path in latest.rglob("*")} == before
    assert not list((root / "build/fails").glob(".new-*"))


def test_image_that_could_not_boot_is_refused_with_the_package_that_it_misses(
    base_project: imagebuilder.Project, cli: Cli
) -> None:
    root = base_project.root
    (root / "kickstarts/no-live.ks").write_text("%packages\n-dracut-live\n%end\n")
    (root / "recipes/no-live.toml").write_text('extends = "base"\nkickstarts = ["no-live.ks"]\n')
    result = cli("test", "no-live", cwd=root)
    assert result.returncode == 2
    assert "no-live.ks:1: the image could not boot over the network" in result.stderr
    assert "dracut-live" in result.stderr
    assert not (root / "build/no-live").exists()


@pytest.mark.parametrize(
    ("recipe", "fragment", "expected"),
    [
        ("colour = 1\n", "", r"recipes/bad\.toml:2 \(colour\): unknown key 'colour'"),
        ("", "package_typo", r"kickstarts/bad\.ks:1: .*Unknown command: package_typo"),
        ("", "%packages\nno-such-thing\n%end", r"bad\.ks:2: there is no package 'no-such-thing'"),
        ("", "lang {{ nothing }}", r"kickstarts/bad\.ks:1: 'nothing' is undefined"),
        ("", "lang C.UTF-8 --loud", r"kickstarts/bad\.ks:1: .*--loud"),
        ("", "nfs --server=a --dir=/b", r"kickstarts/bad\.ks:1: .*does not honour command 'nfs'"),
        ("", None, r"recipes/bad\.toml:2 .*there is no fragment 'bad\.ks'"),
    ],
)
def test_bad_input_is_refused_before_anything_is_made(
    base_image: imagebuilder.Image,
    base_project: imagebuilder.Project,
    cli: Cli,
    recipe: str,
    fragment: str | None,
    expected: str,
) -> None:
    root = base_project.root
    (root / "recipes/bad.toml").write_text(f'extends = "base"\n{recipe}kickstarts = ["bad.ks"]\n')
    path = root / "kickstarts/bad.ks"
    path.unlink(missing_ok=True)
    if fragment is not None:
        path.write_text(fragment + "\n")
    result = cli("build", "bad", cwd=root)
    assert result.returncode == 2, result.stderr
    assert re.search(expected, result.stderr), result.stderr
    as_json = cli("build", "--json", "bad", cwd=root)
    error = json.loads(as_json.stdout.splitlines()[-1])["error"]
    assert error["exit_status"] == 2
    assert not (root / "build/bad").exists()
    for name in ("bad.toml", "bad.ks"):
        for folder in ("recipes", "kickstarts"):
            (root / folder / name).unlink(missing_ok=True)


def test_recipe_made_in_python_is_built_like_one_from_a_file(
    base_image: imagebuilder.Image, base_project: imagebuilder.Project, cache_dir: Path
) -> None:
    events: list[imagebuilder.Event] = []
    recipe = imagebuilder.Recipe.model_validate(
        {"name": "in-python", "extends": "base", "kernel": {"args": ["quiet"]}}
    )
    options = imagebuilder.Options.make(cache_dir=cache_dir, observer=events.append)
    image = imagebuilder.build_image(base_project, recipe, options)
    assert image.facts.kernel_args[-1] == "quiet"
    assert {event.subject for event in events} == {"in-python"}
    assert [e.step for e in events if e.kind == "finished"][-1] == "image"
    # Only a kernel argument is new: the file systems are the same to the byte.
    assert image.facts.artefacts[2] == base_image.facts.artefacts[2]
    assert image.facts.artefacts[1] == base_image.facts.artefacts[1]


def test_request_to_stop_ends_a_build(
    base_image: imagebuilder.Image, base_project: imagebuilder.Project, cache_dir: Path
) -> None:
    cancel = imagebuilder.Cancel()

    def stop_early(event: imagebuilder.Event) -> None:
        if event.step == "configure" and event.kind == "started":
            cancel.set("enough")

    recipe = imagebuilder.Recipe.model_validate({"name": "stopped", "extends": "base"})
    options = imagebuilder.Options.make(cache_dir=cache_dir, observer=stop_early, cancel=cancel)
    with pytest.raises(imagebuilder.Interrupted, match="enough"):
        imagebuilder.build_image(base_project, recipe, options)
    assert list((base_project.root / "build/stopped").iterdir()) == [
        base_project.root / "build/stopped/.lock"
    ]
    assert list((cache_dir / "work").iterdir()) == []

"""lint: each kind of finding, where it stands, what waives it."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest
from fakes import FakeEngine, MakeProject
from lintkit import CLEAN, TODAY, KnowingEngine, codes, linted, settings

from imagebuilder import engines, lint
from imagebuilder.errors import Location, StepError
from imagebuilder.lint.codes import CODES
from imagebuilder.project import Project

needs_shellcheck = pytest.mark.skipif(
    shutil.which("shellcheck") is None and os.environ.get("CI") != "true",
    reason="shellcheck is not installed; run ci/setup",
)


@pytest.fixture(autouse=True)
def knowing_engine(monkeypatch: pytest.MonkeyPatch) -> KnowingEngine:
    engine = KnowingEngine()
    monkeypatch.setattr(engines, "find", lambda name, where=None: engine)
    return engine


def with_fragment(make: MakeProject, text: str, more: str = "", extra: str = "") -> Project:
    """Make the clean project with one more fragment, and more in the recipe."""
    recipe = CLEAN["recipes/r.toml"].replace('"clean.ks"', '"clean.ks", "x.ks"')
    lines = "\n".join(line.removeprefix("        ") for line in recipe.splitlines())
    return make(
        {**CLEAN, "recipes/r.toml": f"{more}\n{lines}\n{extra}", "kickstarts/x.ks": text + "\n"}
    )


def of_fragment(make: MakeProject, cache: Path, text: str) -> list[tuple[str, str]]:
    """Return code and place of what is found in a fragment."""
    found = linted(with_fragment(make, text), cache, "r")
    return [(each.code, str(each.where)) for each in found]


def test_a_clean_recipe_has_no_findings(make_project: MakeProject, tmp_path: Path) -> None:
    assert linted(make_project(CLEAN), tmp_path) == ()


@needs_shellcheck
@pytest.mark.parametrize("code", sorted(CODES))
def test_the_example_of_each_code_has_it(
    make_project: MakeProject, tmp_path: Path, code: str
) -> None:
    kind = CODES[code]
    if kind.example_is == "fragment":
        project = with_fragment(make_project, kind.example)
    else:
        # A recipe of its own, so that [replace] has a parent's to replace.
        files = {**CLEAN, "recipes/child.toml": f'extends = "r"\n{kind.example}\n'}
        project = make_project({**files, "kickstarts/left-over.ks": "# nothing\n"})
    if code == "IB111":
        path = project.root / "recipes/r.toml"
        path.write_text(path.read_text().replace("debian-12", "almalinux-9"))
    found = [each for each in linted(project, tmp_path) if each.code == code]
    assert found
    assert all(each.severity == kind.severity for each in found)
    assert all(each.text and each.fix for each in found)


def test_a_recipe_that_is_wrong_does_not_keep_others_from_being_looked_at(
    make_project: MakeProject, tmp_path: Path
) -> None:
    project = with_fragment(make_project, "rootpw --plaintext correct-horse")
    (project.root / "recipes/bad.toml").write_text("zoo = 1\nkernl = 2\n")
    found = linted(project, tmp_path)
    assert [(each.code, str(each.where)) for each in found if each.recipes == ("bad",)] == [
        ("IB101", "recipes/bad.toml:1 (zoo)"),
        ("IB101", "recipes/bad.toml:2 (kernl)"),
    ]
    assert ("IB301", ("r",)) in [(each.code, each.recipes) for each in found]


def test_an_abstract_recipe_is_only_resolved(make_project: MakeProject, tmp_path: Path) -> None:
    project = make_project({"recipes/r.toml": 'abstract = true\ndistro = "debian-12"\n'})
    assert linted(project, tmp_path) == ()


def test_what_recipes_share_is_said_once(make_project: MakeProject, tmp_path: Path) -> None:
    project = with_fragment(make_project, "rootpw --plaintext correct-horse")
    (project.root / "recipes/child.toml").write_text('extends = "r"\n')
    found = [each for each in linted(project, tmp_path) if each.code == "IB301"]
    assert [each.recipes for each in found] == [("child", "r")]


# -- secrets -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "rootpw correct-horse",
        "rootpw --iscrypted correct-horse",
        "user --name=a --password=correct-horse",
        "sshpw --username=root correct-horse --plaintext",
        "%post --erroronfail\nset -e\necho root:correct-horse | chpasswd\n%end",
        "%post --erroronfail\nset -e\necho 'root:correct-horse' |/usr/sbin/chpasswd\n%end",
        "%post --erroronfail\nset -e\nchpasswd <<EOF\nroot:correct-horse\nEOF\n%end",
        "%post --erroronfail --interpreter=/bin/bash\nchpasswd <<< root:correct-horse\n%end",
        "%post --erroronfail\nset -e\necho correct-horse | passwd --stdin root\n%end",
        "%post --erroronfail\nset -e\nusermod -p correct-horse root\n%end",
    ],
)
def test_passwords_in_plain_text(make_project: MakeProject, tmp_path: Path, text: str) -> None:
    found = linted(with_fragment(make_project, text), tmp_path, "r")
    assert "IB301" in codes(found)
    assert "correct-horse" not in repr([each.to_dict() for each in found])


@pytest.mark.parametrize(
    "text",
    [
        'rootpw --plaintext {{ secret("rootpw") }}',
        'user --name=a --password={{ secret("a") }}',
        "user --name=a --iscrypted --password=$6$salt$hash",
        "user --name=a --lock",
        '%post --erroronfail\nset -e\necho "root:{{ secret("x") }}" | chpasswd\n%end',
        '%post --erroronfail\nset -e\npw=$(cat /x)\necho "root:$pw" | chpasswd\n%end',
        "%post --erroronfail\nset -e\necho 'root:$6$salt$hash' | chpasswd -e\n%end",
        '%post --erroronfail\nset -e\nPASSWORD_FILE=/etc/pw\necho "$PASSWORD_FILE"\n%end',
        "%post --erroronfail\nset -e\n# curl https://a:b@example.org/\ntrue\n%end",
    ],
)
def test_no_passwords(make_project: MakeProject, tmp_path: Path, text: str) -> None:
    found = linted(with_fragment(make_project, text), tmp_path, "r")
    assert [each for each in found if each.code.startswith("IB30")] == []


def test_a_hash_without_iscrypted(make_project: MakeProject, tmp_path: Path) -> None:
    found = of_fragment(make_project, tmp_path, "\nuser --name=a --password=$6$salt$hash")
    assert ("IB306", "kickstarts/x.ks:2") in found


# -- units ---------------------------------------------------------------------------------


def test_a_unit_that_a_script_writes_is_there_for_scripts_only(
    make_project: MakeProject, tmp_path: Path
) -> None:
    script = (
        "%post --erroronfail\nset -eu\ncat > /etc/systemd/system/own.service <<'EOF'\n[Unit]\nEOF\n"
        "systemctl enable own.service\nsystemctl enable --now other.timer\n%end\n"
    )
    found = linted(with_fragment(make_project, f"{script}services --enabled=own"), tmp_path, "r")
    said = {each.where.line: each.text for each in found if each.code == "IB401" and each.where}
    assert set(said) == {7, 9}
    assert "other.timer" in said[7]
    assert "runs later" in said[9]


def test_a_unit_among_the_files_of_the_recipe(make_project: MakeProject, tmp_path: Path) -> None:
    entry = '[[files]]\nsource = "own.service"\npath = "/etc/systemd/system/own.service"\n'
    project = with_fragment(make_project, "services --enabled=own", extra=entry)
    (project.root / "own.service").write_text("[Unit]\n")
    assert linted(project, tmp_path, "r") == ()


def test_a_misspelt_unit_is_answered_with_the_right_one(
    make_project: MakeProject, tmp_path: Path
) -> None:
    found = linted(with_fragment(make_project, "services --enabled=sssh"), tmp_path, "r")
    assert codes(found) == ["IB401"]
    assert "did you mean ssh.service?" in found[0].fix


def test_units_are_not_foreseen_where_a_script_installs_software(
    make_project: MakeProject, tmp_path: Path
) -> None:
    script = "%post --erroronfail\nset -e\napt-get install -y agent\nsystemctl enable agent\n%end"
    assert of_fragment(make_project, tmp_path, script) == [("IB100", "kickstarts/x.ks:4")]


def test_what_runs_after_a_failure_may_fail_unseen(
    make_project: MakeProject, tmp_path: Path
) -> None:
    text = "%post\ntrue\n%end\n%onerror\ntrue\n%end"
    assert of_fragment(make_project, tmp_path, text) == [("IB504", "kickstarts/x.ks:1")]


def test_without_contents_units_are_not_looked_for(
    make_project: MakeProject,
    tmp_path: Path,
    knowing_engine: KnowingEngine,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> None:
        raise StepError("no Contents")

    monkeypatch.setattr(KnowingEngine, "units", refuse)
    waiver = '[[waivers]]\ncode = "IB401"\nreason = "x"\nuntil = 2099-01-01\n'
    project = with_fragment(make_project, "services --enabled=nothing", extra=waiver)
    # Nor is it said that the waiver matches nothing.
    assert codes(linted(project, tmp_path, "r")) == ["IB100"]


# -- scripts -------------------------------------------------------------------------------


@needs_shellcheck
def test_remarks_of_shellcheck_stand_at_the_fragments_line(
    make_project: MakeProject, tmp_path: Path
) -> None:
    text = "# head\n{% if true %}\n%post --erroronfail\nset -eu\nif true; then\n%end\n{% endif %}"
    assert ("IB501", "kickstarts/x.ks:5") in of_fragment(make_project, tmp_path, text)


@needs_shellcheck
def test_what_shellcheck_said_is_remembered(
    make_project: MakeProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "%post --erroronfail\nset -eu\nfolder=/srv\nrm -rf $folder/$missing\n%end"
    project = with_fragment(make_project, text)
    first = linted(project, tmp_path, "r")
    assert "IB502" in codes(first)
    monkeypatch.setattr("imagebuilder.lint.shellcheck._run", None)
    assert linted(project, tmp_path, "r") == first


def test_without_shellcheck_the_shell_looks_at_the_syntax(
    make_project: MakeProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "programs"
    folder.mkdir()
    for name in ("dash", "setpriv"):
        (folder / name).symlink_to(str(shutil.which(name)))
    monkeypatch.setattr("imagebuilder.command.search_path", lambda: str(folder))
    text = "%post --erroronfail\nset -eu\nif true; then\n%end"
    found = of_fragment(make_project, tmp_path, text)
    assert ("IB100", "None") in found
    assert [place for code, place in found if code == "IB501"] == ["kickstarts/x.ks:3"]


def test_python_is_looked_at_as_python(make_project: MakeProject, tmp_path: Path) -> None:
    text = "%post --erroronfail --interpreter=/usr/bin/python3\nx = 1\nif x\n    pass\n%end"
    assert of_fragment(make_project, tmp_path, text) == [("IB501", "kickstarts/x.ks:3")]


# -- contradictions, kernel ----------------------------------------------------------------


def test_contradictions_name_both_places(make_project: MakeProject, tmp_path: Path) -> None:
    project = with_fragment(make_project, "services --disabled=ssh")
    (found,) = linted(project, tmp_path, "r")
    assert found.code == "IB601"
    assert found.where == Location(file="kickstarts/x.ks", line=1)
    assert [each.file for each in found.also] == ["kickstarts/clean.ks"]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("rootpw --iscrypted $6$a$b", "IB603"),
        ("lang C.UTF-8\nlang de_DE.UTF-8", "IB603"),
        ("firewall --enabled\nfirewall --disabled", "IB603"),
        ("network --hostname=a\nnetwork --hostname=b", "IB603"),
        ("user --name=a --lock\nuser --name=a --uid=7 --lock", "IB604"),
        ("%packages\n-openssh-server\n%end", "IB602"),
    ],
)
def test_contradictions(make_project: MakeProject, tmp_path: Path, text: str, code: str) -> None:
    assert code in [each for each, _ in of_fragment(make_project, tmp_path, text)]


@pytest.mark.parametrize(
    "text",
    [
        "lang C.UTF-8\nlang C.UTF-8",
        "firewall --enabled --service=ssh\nfirewall --enabled --port=80:tcp",
        "network --device=a --bootproto=dhcp\nnetwork --device=b --bootproto=dhcp",
    ],
)
def test_no_contradictions(make_project: MakeProject, tmp_path: Path, text: str) -> None:
    found = of_fragment(make_project, tmp_path, text)
    assert [each for each, _ in found if each.startswith("IB6")] == []


def test_a_recipe_may_take_out_what_its_fragments_put_in(
    make_project: MakeProject, tmp_path: Path
) -> None:
    project = with_fragment(make_project, "%packages\nvim\n%end", more='packages = ["-vim"]')
    assert linted(project, tmp_path, "r") == ()


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (["quiet", "quiet"], "IB701"),
        (["iommu=pt", "iommu=off"], "IB702"),
        (["kvm-intel.nested=1", "kvm_intel.nested=0"], "IB702"),
        (["ro", "rw"], "IB702"),
        (["nosmt", "smt"], "IB702"),
        (["root=/dev/sda1"], "IB703"),
        (["console=tty0", "console=ttyS0", "console=ttyS0"], "IB701"),
    ],
)
def test_kernel_arguments(
    make_project: MakeProject, tmp_path: Path, args: list[str], code: str
) -> None:
    listed = ", ".join(f'"{each}"' for each in args)
    project = with_fragment(make_project, "", more=f"kernel.args = [{listed}]")
    (found,) = linted(project, tmp_path, "r")
    assert found.code == code
    assert found.where
    assert found.where.key == f"kernel.args.{len(args) - 1}"


def test_kernel_arguments_that_may_repeat(make_project: MakeProject, tmp_path: Path) -> None:
    text = 'bootloader --append="console=tty0 hugepagesz=1G hugepages=4 rd.driver.pre=a"'
    more = 'kernel.args = ["console=ttyS0", "hugepagesz=2M", "hugepages=4", "rd.driver.pre=b"]'
    assert linted(with_fragment(make_project, text, more), tmp_path, "r") == ()


# -- what is not used ----------------------------------------------------------------------


def test_a_misspelt_param_is_answered_with_the_right_one(
    make_project: MakeProject, tmp_path: Path
) -> None:
    fragment = "lang {{ locale_name | default('C.UTF-8') }}"
    project = with_fragment(make_project, fragment, extra='[params]\nlocal_name = "x"\n')
    (found,) = linted(project, tmp_path, "r")
    assert found.code == "IB802"
    assert found.fix == "did you mean 'locale_name'?"
    assert found.where
    assert found.where.line == (project.root / "recipes/r.toml").read_text().count("\n")


def test_a_parents_param_may_be_for_its_children(make_project: MakeProject, tmp_path: Path) -> None:
    project = with_fragment(make_project, "", extra='[params]\nname = "us"\n')
    (project.root / "kickstarts/use.ks").write_text("keyboard {{ name }}\n")
    child = 'extends = "r"\nkickstarts = ["use.ks"]\n'
    assert codes(linted(project, tmp_path, "r")) == ["IB802"]
    (project.root / "recipes/child.toml").write_text(child)
    assert linted(project, tmp_path, "r") == ()
    assert linted(project, tmp_path) == ()


def test_an_included_fragment_is_used(make_project: MakeProject, tmp_path: Path) -> None:
    text = "{% if false %}\n%include other.ks\n{% endif %}"
    project = with_fragment(make_project, text)
    (project.root / "kickstarts/other.ks").write_text("# other\n")
    assert linted(project, tmp_path) == ()


# -- waivers -------------------------------------------------------------------------------

WAIVER = '[[waivers]]\ncode = "{code}"\nreason = "agreed"\nuntil = {until}\nmatch = "{match}"\n'


def waived(make: MakeProject, cache: Path, **given: str) -> tuple[lint.Finding, ...]:
    values = {"code": "IB301", "until": "2099-01-01", "match": "x.ks:1", **given}
    project = with_fragment(
        make, "user --name=a --password=correct-horse", extra=WAIVER.format(**values)
    )
    return linted(project, cache, "r")


def test_a_waiver_marks_its_finding(make_project: MakeProject, tmp_path: Path) -> None:
    (found,) = waived(make_project, tmp_path)
    assert found.waived
    assert found.waived.reason == "agreed"
    assert found.to_dict()["waived"]["until"] == "2099-01-01"


def test_a_waiver_holds_on_its_last_day(make_project: MakeProject, tmp_path: Path) -> None:
    (found,) = waived(make_project, tmp_path, until=TODAY.isoformat())
    assert found.waived


def test_an_expired_waiver_is_a_finding_and_waives_nothing(
    make_project: MakeProject, tmp_path: Path
) -> None:
    found = waived(make_project, tmp_path, until="2026-11-23")
    assert [(each.code, each.waived) for each in found] == [("IB301", None), ("IB901", None)]


@pytest.mark.parametrize(("code", "match"), [("IB301", "y.ks"), ("IB502", "")])
def test_a_waiver_that_matches_nothing_is_a_finding(
    make_project: MakeProject, tmp_path: Path, code: str, match: str
) -> None:
    found = waived(make_project, tmp_path, code=code, match=match)
    assert codes(found) == ["IB301", "IB902"]
    assert not any(each.waived for each in found)


def test_what_is_not_used_can_be_waived(make_project: MakeProject, tmp_path: Path) -> None:
    extra = '[params]\nspare = "x"\n' + "".join(
        WAIVER.format(code=code, until="2099-01-01", match=match)
        for code, match in (("IB801", "left-over.ks"), ("IB802", "spare"))
    )
    project = with_fragment(make_project, "", extra=extra)
    (project.root / "kickstarts/left-over.ks").write_text("# left\n")
    found = linted(project, tmp_path)
    assert [(each.code, each.waived is not None) for each in found] == [
        ("IB801", True),
        ("IB802", True),
    ]
    # Of a recipe alone it is not known whether the fragment is used elsewhere.
    assert codes(linted(project, tmp_path, "r")) == ["IB802"]


def test_a_waiver_of_the_parent_need_not_match_in_each_child(
    make_project: MakeProject, tmp_path: Path
) -> None:
    extra = WAIVER.format(code="IB301", until="2099-01-01", match="")
    project = with_fragment(make_project, "user --name=a --password=correct-horse", extra=extra)
    (project.root / "recipes/child.toml").write_text(
        'extends = "r"\n[remove]\nkickstarts = ["x.ks"]\n'
    )
    assert linted(project, tmp_path, "child") == ()
    assert [each.waived is not None for each in linted(project, tmp_path)] == [True]


def test_a_command_that_needs_a_package(make_project: MakeProject, tmp_path: Path) -> None:
    found = of_fragment(make_project, tmp_path, "timezone Europe/Berlin --utc")
    assert found == [("IB103", "kickstarts/x.ks:1")]


# -- the rest ------------------------------------------------------------------------------


def test_an_engine_without_an_index_leaves_packages_unknown(
    make_project: MakeProject, tmp_path: Path, fake_engine: FakeEngine
) -> None:
    found = linted(make_project(CLEAN), tmp_path, "r")
    assert sorted(codes(found)) == ["IB100", "IB104"]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("text\npart / --size=1", "kickstarts/a.ks:4"),
        ("autopart", "kickstarts/a.ks:4"),
        ("part / --size=1\npart /boot --size=1", "kickstarts/a.ks:5"),
        ("", "recipes/r.toml:2 (kickstarts)"),  # there is no part /
    ],
)
def test_what_livemedia_creator_refuses(
    make_project: MakeProject, tmp_path: Path, text: str, place: str
) -> None:
    head = "url --url=https://example.org/\nnetwork --bootproto=dhcp\nrootpw --lock\n"
    project = make_project(
        {
            "recipes/r.toml": 'distro = "almalinux-9"\nkickstarts = ["a.ks"]\n',
            "kickstarts/a.ks": f"{head}{text}\n",
        }
    )
    found = [each for each in linted(project, tmp_path, "r") if each.code == "IB111"]
    assert [str(each.where) for each in found] == [place]


def test_livemedia_creator_wants_a_url_and_the_network(
    make_project: MakeProject, tmp_path: Path
) -> None:
    project = make_project(
        {
            "recipes/r.toml": 'distro = "fedora-43"\nkickstarts = ["a.ks"]\n',
            "kickstarts/a.ks": "part / --size=1\n",
        }
    )
    said = [each.text for each in linted(project, tmp_path, "r") if each.code == "IB111"]
    assert len(said) == 1
    assert "where to install from" in said[0]
    (project.root / "kickstarts/a.ks").write_text("url --url=https://a/\npart / --size=1\n")
    said = [each.text for each in linted(project, tmp_path, "r") if each.code == "IB111"]
    assert len(said) == 1
    assert "network is not activated" in said[0]


def test_a_missing_file_and_a_template_that_fails(
    make_project: MakeProject, tmp_path: Path
) -> None:
    entries = "".join(
        f'[[files]]\nsource = "{name}"\npath = "/etc/{name}"\ntemplate = true\n'
        for name in ("missing", "broken")
    )
    project = with_fragment(make_project, "", extra=entries)
    (project.root / "broken").write_text("a\n{{ nothing }}\n")
    found = linted(project, tmp_path, "r")
    assert [each.code for each in found] == ["IB106", "IB106"]
    assert str(found[0].where) == "broken:2"


def test_findings_are_the_same_each_time(make_project: MakeProject, tmp_path: Path) -> None:
    text = "\n".join(kind.example for kind in CODES.values() if kind.example_is == "fragment")
    project = with_fragment(make_project, re.sub("(?m)^timezon .*", "", text))
    first = linted(project, tmp_path)
    assert linted(project, tmp_path) == first
    assert [each.order for each in first] == sorted(each.order for each in first)
    assert settings(tmp_path).today == TODAY


def test_packages_of_checks_are_not_told_where_a_script_installs(
    make_project: MakeProject, tmp_path: Path
) -> None:
    check = '[[checks]]\npackage = "postfix:amd64"\nversion = ">= 3"\n'
    files = {**CLEAN, "recipes/child.toml": f'extends = "r"\nkickstarts = ["c.ks"]\n{check}'}
    files["kickstarts/c.ks"] = "%post --erroronfail\nset -e\napt-get install -y postfix\n%end\n"
    assert "IB205" not in {each.code for each in linted(make_project(files), tmp_path)}
    files["kickstarts/c.ks"] = "%post --erroronfail\nset -e\ntrue\n%end\n"
    told = [
        each for each in linted(make_project(files, folder="two"), tmp_path) if each.code == "IB205"
    ]
    assert [each.text for each in told] == [
        "a check asks for the package postfix, which the image does not get"
    ]
    assert told[0].where == Location(file="recipes/child.toml", line=4, key="checks.1.package")

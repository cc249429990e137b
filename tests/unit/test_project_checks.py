"""What a recipe asks of the machine that it is tested in, resolved."""

from __future__ import annotations

import pytest
from fakes import MakeProject
from projectkit import refusal

from imagebuilder.checks.scripts import SIZE_LIMIT, LoadedScriptCheck
from imagebuilder.errors import InputError, Location
from imagebuilder.recipe import Recipe, SmokeOptions


def test_needs_that_name_no_check_are_refused_with_their_line(make_project: MakeProject) -> None:
    recipe = """
    distro = "debian-12"
    [[checks]]
    name = "first"
    command = "true"
    [[checks]]
    command = "true"
    needs = [
      "first",
      "frist",
    ]
    """
    with pytest.raises(InputError, match="'frist' is neither a check nor a group") as caught:
        make_project({"recipes/r.toml": recipe}).resolve("r")
    assert caught.value.where == Location(file="recipes/r.toml", line=9, key="checks.1.needs.1")
    assert "first" in caught.value.fix


def test_a_parent_may_need_what_its_child_brings(make_project: MakeProject) -> None:
    parent = """
    abstract = true
    distro = "debian-12"
    [[checks]]
    command = "true"
    needs = ["storage"]
    """
    child = """
    extends = "parent"
    [[checks]]
    mount = "/srv"
    group = "storage"
    """
    project = make_project({"recipes/parent.toml": parent, "recipes/c.toml": child})
    project.resolve("parent")
    assert [each.title for each in project.resolve("c").recipe.checks] == [
        "command true",
        "mount /srv",
    ]


def test_checks_that_wait_for_each_other_are_refused(make_project: MakeProject) -> None:
    recipe = """
    distro = "debian-12"
    [[checks]]
    name = "a"
    command = "true"
    group = "g"
    needs = ["b"]
    [[checks]]
    name = "b"
    command = "true"
    needs = ["g"]
    """
    with pytest.raises(InputError, match="wait for each other: a needs b needs a") as caught:
        make_project({"recipes/r.toml": recipe}).resolve("r")
    assert caught.value.where == Location(file="recipes/r.toml", line=6, key="checks.0.needs.0")


def test_scripts_of_checks_are_read_from_the_project(make_project: MakeProject) -> None:
    recipe = """
    distro = "debian-12"
    [[checks]]
    script = "checks/{{ recipe }}.sh"
    """
    project = make_project({"recipes/r.toml": recipe, "checks/r.sh": "echo hello\n"})
    resolved, root = project.resolve("r"), project.root
    (check,) = resolved.checks()
    assert isinstance(check, LoadedScriptCheck)
    assert check.content.strip() == b"echo hello"
    (root / "checks/r.sh").unlink()
    with pytest.raises(InputError, match="no such file in the project") as caught:
        resolved.checks()
    assert caught.value.where == Location(file="recipes/r.toml", line=3, key="checks.0.script")
    (root / "checks/r.sh").symlink_to("/etc/passwd")
    with pytest.raises(InputError, match="leads out of the project"):
        resolved.checks()
    (root / "checks/r.sh").unlink()
    (root / "checks/r.sh").write_bytes(bytes(SIZE_LIMIT + 1))
    with pytest.raises(InputError, match="at most 1048576 bytes"):
        resolved.checks()


def test_templates_stand_for_numbers_in_checks(make_project: MakeProject) -> None:
    recipe = """
    distro = "debian-12"
    [params]
    port = 2222
    tag = 20
    [[checks]]
    port = "{{ port }}"
    [[checks]]
    ovs_bridge = "br0"
    tags = { storage0 = "{{ tag }}" }
    [[checks]]
    interface = "eth0"
    mtu = "{{ port }}"
    """
    port, bridge, interface = make_project({"recipes/r.toml": recipe}).resolve("r").recipe.checks
    assert (port.title, interface.wanted.partition("with ")[2]) == ("port 2222/tcp", "mtu 2222")
    assert bridge.model_dump()["tags"] == {"storage0": 20}
    wrong = recipe.replace("tag = 20", "tag = 4095")
    with pytest.raises(InputError, match="less than or equal to 4094") as caught:
        make_project({"recipes/r.toml": wrong}, folder="two").resolve("r")
    assert caught.value.where
    assert caught.value.where.line == 9


def test_a_rack_that_cannot_be_is_refused_with_its_line(make_project: MakeProject) -> None:
    parent = 'distro = "debian-12"\n[smoke.vlans]\n7 = "10.20.7.0/24"\n'
    child = 'extends = "p"\n[[smoke.nics]]\n[[smoke.nics]]\nvlans = [7]\n'
    project = make_project({"recipes/p.toml": parent, "recipes/r.toml": child})
    assert project.resolve("r").recipe.smoke.nics[1].vlans == (7,), "its parent has the VLAN"
    project = make_project(
        {"recipes/p.toml": parent, "recipes/r.toml": child.replace("[7]", "[7, 9]")}
    )
    error = refusal(project, "r")
    assert "VLAN 9, which is none" in error.what
    assert error.where
    assert (error.where.file, error.where.line) == ("recipes/r.toml", 4)


def test_arguments_for_tests_are_templates_too(make_project: MakeProject) -> None:
    recipe = """
    distro = "debian-12"
    [params]
    role = "compute"
    [smoke]
    args = ["role={{ role }}{machine}"]
    """
    resolved = make_project({"recipes/r.toml": recipe}).resolve("r")
    assert resolved.recipe.smoke.args == ("role=compute{machine}",)


def test_a_recipe_made_in_python_has_a_rack(make_project: MakeProject) -> None:
    smoke = SmokeOptions.model_validate({"vlans": {"7": "10.20.7.0/24"}, "nics": [{"vlans": [7]}]})
    resolved = make_project().resolve(Recipe(name="r", distro="debian-12", smoke=smoke))
    assert resolved.recipe.smoke == smoke

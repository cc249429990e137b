from __future__ import annotations

import pytest
from fakes import MakeProject

from imagebuilder.errors import InputError
from imagebuilder.project import Project

MATRIX = """
    summary = "a role"
    kickstarts = ["a.ks"]
    packages = ["vim"]
    [params]
    size = 1
    [matrix]
    distro = ["debian-12", "debian-13"]
    [matrix.flavour.plain]
    [matrix.flavour.gpu]
    summary = "a role with a GPU"
    kickstarts = ["gpu.ks"]
    params.size = 2
    kernel.args = ["gpu={{ matrix.flavour }}"]
    remove.packages = ["vim"]
    [[matrix.exclude]]
    distro = "debian-12"
    flavour = "gpu"
    """


def refusal(project: Project, name: str) -> InputError:
    with pytest.raises(InputError) as caught:
        project.resolve(name)
    return caught.value


def test_a_matrix_stands_for_its_variants(make_project: MakeProject) -> None:
    project = make_project({"recipes/role.toml": MATRIX})
    assert project.names() == (
        "role-debian-12-plain",
        "role-debian-13-gpu",
        "role-debian-13-plain",
    )
    assert project.select(["role"]) == (
        "role-debian-12-plain",
        "role-debian-13-plain",
        "role-debian-13-gpu",
    )
    plain = project.resolve("role-debian-12-plain")
    assert (plain.name, plain.distro.id, plain.matrix) == (
        "role-debian-12-plain",
        "debian-12",
        {"distro": "debian-12", "flavour": "plain"},
    )
    assert plain.recipe.matrix is None
    assert plain.recipe.packages == ("vim",)
    gpu = project.resolve("role-debian-13-gpu")
    assert gpu.recipe.summary == "a role with a GPU"
    assert gpu.recipe.kickstarts == ("a.ks", "gpu.ks")
    assert gpu.recipe.params == {"size": 2}
    assert gpu.recipe.kernel.args == ("gpu=gpu",)
    assert gpu.recipe.packages == ()
    assert gpu.place("distro").line == 7
    assert gpu.place("params.size").line == 12
    assert gpu.place("kickstarts.1").line == 11


def test_the_recipe_itself_is_no_image(make_project: MakeProject) -> None:
    error = refusal(make_project({"recipes/role.toml": MATRIX}), "role")
    assert "stands for 3 variants" in error.what
    assert "role-debian-13-gpu" in error.fix


def test_a_name_of_ones_own(make_project: MakeProject) -> None:
    text = """
        [matrix]
        name = "{{ distro | replace('debian-', 'd') }}-{{ recipe }}"
        distro = ["debian-12", "debian-13"]
        """
    assert make_project({"recipes/r.toml": text}).names() == ("d12-r", "d13-r")


def test_a_matrix_is_handed_down(make_project: MakeProject) -> None:
    project = make_project(
        {
            "recipes/role.toml": MATRIX,
            "recipes/child.toml": 'extends = "role"\n[replace]\nmatrix.distro = ["debian-12"]\n'
            'matrix.flavour = ["plain"]\nmatrix.exclude = []\n',
            "recipes/none.toml": 'extends = "role"\ndistro = "debian-12"\n[replace]\nmatrix = {}\n',
            "recipes/one.toml": 'extends = "role-debian-13-gpu"\n[params]\nsize = 3\n',
        }
    )
    assert project.resolve("child-debian-12-plain").lineage == ("role", "child-debian-12-plain")
    assert project.resolve("none").recipe.params["size"] == 1
    one = project.resolve("one").recipe
    assert (one.distro, one.params["size"], one.kickstarts) == (
        "debian-13",
        3,
        ("a.ks", "gpu.ks"),
    )


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ('[matrix]\ndistro = ["debian-12", "debian-12"]\n', 1, "two variants the name"),
        (
            '[matrix]\nname = "{{ recipe }}-x"\ndistro = ["debian-12", "debian-13"]\n',
            2,
            "two variants the name 'r-x': debian-12 and debian-13",
        ),
        ('[matrix]\nname = "{{ nothing }}"\nflavour = ["a"]\n', 2, "'nothing' is undefined"),
        ('[matrix]\nname = "A/../b"\nflavour = ["a"]\n', 2, "is no recipe name"),
        ("[matrix]\nflavour = []\n", 1, "matrix.flavour has no values"),
        ('[matrix]\nname = "x"\n', 1, "the matrix has no axis"),
        ('[matrix]\ncolour = ["red"]\n', 2, "unknown key 'colour'"),
        ('[matrix]\nflavour = ["../a"]\n', 2, "matrix.flavour"),
        ("[matrix.flavour.a]\nkickstart = []\n", 2, "unknown key 'kickstart'"),
        (
            '[matrix]\nflavour = ["a"]\n[[matrix.exclude]]\nflavour = "b"\n',
            4,
            "flavour is never 'b'",
        ),
        (
            '[matrix]\nflavour = ["a"]\n[[matrix.exclude]]\nflavour = "a"\n',
            1,
            "excludes all",
        ),
        (f"[matrix]\nflavour = {[f'f{n}' for n in range(1001)]}\n", 1, "more than 1000"),
    ],
)
def test_a_wrong_matrix_is_refused_with_its_line(
    make_project: MakeProject, text: str, line: int, what: str
) -> None:
    project = make_project({"recipes/r.toml": text})
    error = refusal(project, "r")
    assert what in error.what
    assert error.where
    assert (error.where.file, error.where.line) == ("recipes/r.toml", line)
    assert project.names() == ("r",)  # the others can still be listed


def test_a_value_that_the_distro_does_not_know(make_project: MakeProject) -> None:
    project = make_project(
        {"recipes/r.toml": '[matrix]\ndistro = [\n"debian-12",\n"debian-1",\n]\n'}
    )
    error = refusal(project, "r-debian-1")
    assert "unknown distro" in error.what
    assert error.where
    assert error.where.line == 4


def test_a_variant_that_is_called_as_a_file_is(make_project: MakeProject) -> None:
    project = make_project(
        {
            "recipes/a.toml": 'distro = "debian-12"\n[matrix]\nflavour = ["b"]\n',
            "recipes/a-b.toml": 'distro = "debian-12"\n',
        }
    )
    with pytest.raises(InputError, match="two recipes are called 'a-b'"):
        project.names()


def test_a_change_of_the_file_is_seen(make_project: MakeProject) -> None:
    project = make_project({"recipes/r.toml": '[matrix]\nflavour = ["a"]\n'})
    assert project.names() == ("r-a",)
    (project.root / "recipes/r.toml").write_text('[matrix]\nflavour = ["b", "c"]\n')
    assert project.names() == ("r-b", "r-c")
    with pytest.raises(InputError, match="there is no recipe 'r-a'"):
        project.resolve("r-a")


def test_many_recipes_without_their_parent_take_no_longer_than_others(
    make_project: MakeProject,
) -> None:
    """To look for what each lacks among all others that lack it would never end."""
    project = make_project({f"recipes/r{n}.toml": 'extends = "gone"\n' for n in range(40)})
    for name in project.names():
        with pytest.raises(InputError, match="there is no recipe 'gone'"):
            project.resolve(name)
    (project.root / "recipes/m.toml").write_text(
        'distro = "debian-12"\n[matrix]\nname = "gone"\nflavour = ["x"]\n'
    )
    assert project.resolve("r7").lineage == ("gone", "r7")


def test_variants_that_are_found_only_once_others_are(make_project: MakeProject) -> None:
    """Each but the last extends a variant of the one after it."""
    files = {
        f"recipes/a{n}.toml": f'extends = "v{n + 1}"\n[matrix]\nname = "v{n}"\nflavour = ["x"]\n'
        for n in range(8)
    }
    last = 'distro = "debian-12"\n[matrix]\nname = "v8"\nflavour = ["x"]\n'
    project = make_project(files | {"recipes/a8.toml": last})
    assert project.resolve("v0").lineage == tuple(f"v{n}" for n in range(8, -1, -1))
    again = make_project()
    assert set(again.names()) == {f"v{n}" for n in range(9)}

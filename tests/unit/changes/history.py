"""A git repository of recipes with a history of many kinds of change, made from a seed."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Callable
from pathlib import Path

_WHO = {
    "GIT_AUTHOR_NAME": "A", "GIT_AUTHOR_EMAIL": "a@example.org",
    "GIT_COMMITTER_NAME": "A", "GIT_COMMITTER_EMAIL": "a@example.org",
    "GIT_AUTHOR_DATE": "1700000000 +0000", "GIT_COMMITTER_DATE": "1700000000 +0000",
    "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull,
}  # fmt: skip


def git(root: Path, *argv: str) -> str:
    """Run git in a folder, without the user's settings; return what it says."""
    done = subprocess.run(
        ["git", *argv],
        cwd=root,
        env={**os.environ, **_WHO},
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()


def commit(root: Path, message: str = "a change") -> str:
    """Commit all that is there; return the commit's id."""
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--allow-empty", "--message", message)
    return git(root, "rev-parse", "HEAD")


class History:
    """A project that changes.

    Args:
        root: an empty folder.
        recipes: how many there are at first, beside a few that are there to be extended.
        fragments: how many.
        seed: what the history follows from.
    """

    def __init__(self, root: Path, recipes: int, fragments: int, seed: int) -> None:
        self.root = root
        self.random = random.Random(seed)
        self.count = 0
        self.fragments = [f"{'abc'[n % 3]}/f{n}.ks" for n in range(fragments)]
        self.kinds: list[Callable[[], str]] = [
            self.edit_fragment, self.edit_fragment, self.edit_leaf, self.edit_leaf,
            self.comment_of_template, self.edit_param, self.edit_param, self.unused_param,
            self.edit_base, self.add_recipe, self.remove_recipe, self.rename_recipe,
            self.rename_fragment, self.touch_file, self.reformat, self.edit_check,
            self.override_shipped, self.break_recipe, self.mend, self.project_file, self.nothing,
            self.lose_base, self.lead_elsewhere,
        ]  # fmt: skip
        for name in ("recipes", "kickstarts/a", "kickstarts/b", "kickstarts/c", "files"):
            (root / name).mkdir(parents=True)
        for n, name in enumerate(self.fragments):
            self.write_fragment(name, n)
        for n in range(8):
            (root / f"files/f{n}").write_text(f"file {n}\n")
        (root / "files/link").symlink_to("f3")
        for n in range(3):
            self.write_base(n)
        for n in range(recipes):
            self.write_recipe(f"r{n}")
        git(root, "init", "--quiet", "--initial-branch=main", ".")
        commit(root)

    def write_fragment(self, name: str, n: int) -> None:
        later = self.fragments[n + 1 :]
        lines = ["%post", f"echo {name} {self.next()}", "echo {{ level }}" if n % 4 == 0 else ":"]
        lines += ["%end"]
        if later and n % 3 == 0:
            lines.append(f"%include {self.random.choice(later)}")
        if later and n % 7 == 0:
            lines.append("%include {{ which }}/f2.ks" if "c/f2.ks" in later else ":"[:0])
        (self.root / "kickstarts" / name).write_text("\n".join(lines) + "\n")

    def write_base(self, n: int) -> None:
        chosen = self.random.sample(self.fragments, 2)
        (self.root / f"recipes/base{n}.toml").write_text(
            f'distro = "debian-12"\nabstract = true\nkickstarts = {chosen!r}\n'.replace("'", '"')
            + f'[params]\nlevel = "l{n}"\nwhich = "c"\n[kernel]\nargs = ["base={n}"]\n'
        )

    def write_recipe(self, name: str) -> None:
        pick = self.random.sample(self.fragments, self.random.randint(1, 3))
        lines = [f'extends = "base{self.random.randrange(3)}"', f"kickstarts = {pick!r}"]
        lines += ["[params]", f'level = "{self.next()}"'] if self.random.random() < 0.5 else []
        if self.random.random() < 0.3:
            source = self.random.choice([*(f"f{n}" for n in range(8)), "link"])
            lines += ["[[files]]", f'source = "files/{source}"', 'path = "/x"']
        if self.random.random() < 0.2:
            lines += ["[matrix]", 'flavour = ["one", "two"]']
        (self.root / f"recipes/{name}.toml").write_text("\n".join(lines).replace("'", '"') + "\n")

    def next(self) -> int:
        self.count += 1
        return self.count

    # ----- kinds of change: each returns its name ------------------------------------------------

    def step(self) -> str:
        """Make a change, or two at once; commit it, and return what it was."""
        done = [self.random.choice(self.kinds)() for _ in range(self.random.choice((1, 1, 2)))]
        commit(self.root, " and ".join(done))
        return " and ".join(done)

    def own(self) -> list[Path]:
        return sorted(self.root.glob("recipes/r*.toml"))

    def fragment(self) -> Path:
        return self.random.choice(sorted(self.root.glob("kickstarts/?/*.ks")))

    def change(self, path: Path, old: str, new: str) -> None:
        path.write_text(path.read_text().replace(old, new, 1))

    def edit_fragment(self) -> str:
        self.change(self.fragment(), "%post\n", f"%post\necho changed {self.next()}\n")
        return "a fragment"

    def edit_leaf(self) -> str:
        path = self.root / "kickstarts" / self.fragments[-1]
        if path.exists():
            self.change(path, "%post\n", f"%post\necho leaf {self.next()}\n")
        return "the last fragment"

    def comment_of_template(self) -> str:
        path = self.fragment()
        path.write_text(f"<#-- only for readers {self.next()} --#>\n" + path.read_text())
        return "a comment that is not rendered"

    def edit_param(self) -> str:
        path = self.random.choice(self.own())
        self.change(path, 'level = "', f'level = "{self.next()}')
        return "a param"

    def unused_param(self) -> str:
        path = self.root / "recipes/base0.toml"
        self.change(path, "[params]\n", f"[params]\nunused{self.next()} = 1\n")
        return "a param that nothing asks for"

    def edit_base(self) -> str:
        path = self.root / f"recipes/base{self.random.randrange(2)}.toml"
        self.change(path, 'args = ["', f'args = ["n={self.next()}", "')
        return "a base"

    def add_recipe(self) -> str:
        self.write_recipe(f"rn{self.next()}")
        return "a new recipe"

    def remove_recipe(self) -> str:
        self.random.choice(self.own()).unlink()
        return "a recipe removed"

    def rename_recipe(self) -> str:
        path = self.random.choice(self.own())
        path.rename(path.with_name(f"rm{self.next()}.toml"))
        return "a recipe renamed"

    def rename_fragment(self) -> str:
        path = self.fragment()
        new = path.with_name(f"g{self.next()}.ks")
        path.rename(new)
        old, name = (f"{each.parent.name}/{each.name}" for each in (path, new))
        for each in (*self.root.glob("recipes/*.toml"), *self.root.glob("kickstarts/?/*.ks")):
            each.write_text(each.read_text().replace(old, name))
        self.fragments = [name if each == old else each for each in self.fragments]
        return "a fragment renamed with all that name it"

    def touch_file(self) -> str:
        (self.root / f"files/f{self.random.randrange(8)}").write_text(f"file {self.next()}\n")
        return "a copied file"

    def reformat(self) -> str:
        path = self.random.choice(self.own())
        path.write_text(f"# note {self.next()}\n" + path.read_text().replace(" = ", "  =  "))
        return "a recipe written otherwise"

    def edit_check(self) -> str:
        path = self.random.choice(self.own())
        path.write_text(path.read_text() + f'[[checks]]\nunit = "u{self.next()}.service"\n')
        return "a check"

    def override_shipped(self) -> str:
        path = self.root / "recipes/rs.toml"
        if not path.exists():
            path.write_text('extends = "imagebuilder/base"\n')
        (self.root / "kickstarts/net").mkdir(exist_ok=True)
        (self.root / "kickstarts/base").mkdir(exist_ok=True)
        (self.root / "kickstarts/base/locale.ks").write_text(f"lang C.UTF-8 # {self.next()}\n")
        return "a fragment of imagebuilder's own put aside"

    def break_recipe(self) -> str:
        path = self.random.choice(self.own())
        path.write_text(path.read_text().replace('extends = "base', 'extends = "gone', 1))
        return "a recipe broken"

    def mend(self) -> str:
        for path in self.own():
            path.write_text(path.read_text().replace('extends = "gone', 'extends = "base', 1))
        return "recipes mended"

    def lose_base(self) -> str:
        """Take away what a third of all recipes extend, or bring it back."""
        path, away = self.root / "recipes/base2.toml", self.root / "recipes/base2.away"
        (path if path.exists() else away).rename(away if path.exists() else path)
        return "a base lost or found"

    def lead_elsewhere(self) -> str:
        link = self.root / "files/link"
        link.unlink()
        link.symlink_to(f"f{self.random.randrange(8)}")
        return "a link that leads elsewhere"

    def project_file(self) -> str:
        n = self.next()
        lines = ["deb http://mirror.example/debian bookworm main"] if n % 2 else []
        text = f'channel = "c{n}"\n[mirrors]\ndebian-12 = {lines!r}\n'.replace("'", '"')
        (self.root / "imagebuilder.toml").write_text(text)
        return "the project file"

    def nothing(self) -> str:
        return "nothing"

"""Write what follows from the code: three pages of docs/, and the JSON Schemas of docs/schemas/.

Run it after a change of the models or of what the direct engine honours; a test compares.
"""

from __future__ import annotations

import inspect
import json
from functools import partial
from pathlib import Path

from lint_reference import page as lint
from pydantic import BaseModel

from imagebuilder import checks, distro, lockfile
from imagebuilder.budget import Budget
from imagebuilder.catalog.schemas import schemas as catalog_schemas
from imagebuilder.cli import lines
from imagebuilder.engines.direct.fate_commands import COMMANDS
from imagebuilder.engines.direct.fate_kinds import Fate, Row
from imagebuilder.engines.direct.fate_sections import ADDONS, ANY_ADDON, SECTIONS
from imagebuilder.livemedia_options import LivemediaOptions
from imagebuilder.params import Declared
from imagebuilder.recipe import (
    Content,
    FileEntry,
    ImageOptions,
    KernelOptions,
    Matrix,
    Nic,
    Recipe,
    SecretSource,
    SmokeOptions,
    Waiver,
    json_schema,
)
from imagebuilder.remote import Manifest
from imagebuilder.settings import ProjectFile
from imagebuilder.smoke.formats.results import json_schema as results_json_schema
from imagebuilder.smoke.report import SmokeReport

DOCS = Path(__file__).resolve().parent.parent / "docs"

RECIPES = """\
# Recipes

<!-- Made by ci/reference.py from the models: change those, then run it. -->

A recipe is a file `recipes/NAME.toml`; its name is that of the file.
An editor that knows JSON Schema finds the schema in [schemas/recipe.json](schemas/recipe.json).

## How a recipe adds to its parent

`extends` names one parent, which may have a parent of its own: a recipe of the project, one of the variants that a matrix gives, or with `imagebuilder/` before its name a recipe that comes with imagebuilder.

- A scalar replaces the parent's.
- A table merges with the parent's, key by key.
- A list is added after the parent's.
- `[remove]` takes items out of the parent's lists, and keys out of its tables.
- `[replace]` puts a value in the place of the parent's where it would be added or merged; an empty table empties the parent's.

Removals come first, then replacements, then what the recipe adds.
An item that is a table, such as a check, is removed by the value of its `name`, or of the key that says what it is (`unit`, `command`, `file` and so on; `path`, `code`).
To remove or replace what the parent does not have is an error: most often it is misspelt, or the parent has changed.
`abstract`, `extends`, `remove` and `replace` themselves are not handed down.
A recipe that is `abstract` is only there to be extended: `imagebuilder list --abstract` shows those, too.

```toml
extends = "hypervisor"
kickstarts = ["site/monitoring.ks"]     # added to the parent's

[params]
bridge = "br1"                          # replaces the parent's

[remove]
kickstarts = ["config/cfengine.ks"]
checks = ["cf-execd.service"]
params = ["policy_server"]

[replace]
kernel.args = ["quiet"]                 # in place of the parent's
```

`imagebuilder show NAME --why KEY` says which file and line gave a value, what it was before, with which params a template gave it, and by way of which recipes and fragments it came: `--why params.bridge`, `--why kernel.args`, `--why rootpw`, `--why packages.openvswitch-switch`.
Of a secret it says where it comes from, and where that is said; it is not looked up.

## Params and their types

`[params]` gives values; `[declare.NAME]` says what values a param can have, for the recipe and all that extend it.

```toml
[declare.vlan]
type = "integer"        # string, integer, number, boolean, list, table
min = 1
max = 4094
required = true         # a recipe that is built must have it
description = "the VLAN of the guests"

[declare.consoles]
items = "string"
choices = ["tty0", "ttyS0", "ttyS1"]
default = ["tty0", "ttyS0"]
```

A value of the wrong type is refused with the line that gave it, through whatever parents it came.

## A matrix

`[matrix]` lets one file stand for a variant for each combination of distributions, architectures and flavours.
An axis is a list of values, or a table that has for each value what it adds to the recipe, with the keys of a recipe.

```toml
[matrix]
distro = ["debian-12", "debian-13"]

[matrix.flavour.plain]

[matrix.flavour.gpu]
kickstarts = ["hardware/gpu.ks"]
params.hugepages_percent = 50

[[matrix.exclude]]
distro = "debian-12"
flavour = "gpu"
```

In a file `role.toml` these are the recipes `role-debian-12-plain`, `role-debian-13-plain` and `role-debian-13-gpu`; `name` is a template for names of one's own.
`imagebuilder build role` builds all of them, `extends = "role-debian-13-gpu"` adds to one.
A recipe that extends `role` itself has its matrix, and stands for variants of its own; `[replace]` narrows it, and `matrix = {}` there ends it.
Templates know the values as `matrix.flavour` and so on.

## Secrets

In a fragment, in a file that is copied with `template = true`, and in `preseed`, `{{ secret("rootpw") }}` stands for a secret.
It comes from the environment variable `IMAGEBUILDER_SECRET_ROOTPW`, or from what the recipe or `imagebuilder.toml` says; the first that is there is taken:

```toml
[secrets.rootpw]
env = "SITE_ROOT_PASSWORD"
file = "~/secrets/rootpw"
command = ["pass", "show", "fleet/rootpw"]
```

What is shown, saved or published holds `@secret:rootpw@` in its place.
The value is put in where the image is made, and masked in logs and errors; ids follow from it through a slow hash, so that a changed secret makes a new image and cannot be guessed from an id.
On the line of a command it is quoted, so that it is one word; in a script it stands as it is: quote it there, or use a here-document.
A secret has at least 4 characters, and no filter can be applied to it.
What a script then does with it is the script's to answer for: the image holds what the image needs.

## Templates

The strings in `kickstarts`, `packages`, `kernel`, `preseed`, `files`, `smoke` and `checks`, and the fragments, are Jinja2 templates.
They know each param by its own name (`{{ bridge }}` for `params.bridge`), `recipe` (its name), `arch`, `matrix`, and `distro` (`id`, `family`, `name`, `version`, `major`, `suite`, `arch`, `package_manager`).
A variable that is not set is an error; `{{ x | default("y") }}` gives a default.

- `{{ x }}` puts in a value; `{% if x %}`, with a space after the sign, opens a block; `<#-- … --#>` is a comment.
- A line that holds block tags alone leaves nothing behind; each other line keeps its newline.
- Ordinary shell stays as it is: `${#array[@]}`, `${name%%.*}`, `printf '{%s}'`, `docker ps --format '{{.Names}}'`.
- Text that looks like a template and is none goes between `{% raw %}` and `{% endraw %}`.
"""

CHECKS = """
## `[[checks]]`

What must be true in the booted guest.
Which kind a check is follows from the key that it has; how each is looked at stands in [smoke-tests.md](smoke-tests.md).
A check that looks for a list of things wants all of them.
A template can stand for any text or number in a check: `port = "{{ ssh_port }}"`.

```toml
[[checks]]
package = "openvswitch-switch"
version = ">= 3.1"

[[checks]]
interface = "en*"
group = "network"
dhcp = true

[[checks]]
ovs_bridge = "{{ bridge }}"
group = "network"
tags = { storage0 = 20 }

[[checks]]
name = "the storage answers"
script = "checks/storage.sh"
arguments = ["192.0.2.1"]
needs = ["network"]
timeout = 60
run_timeout = 10
```
"""

KICKSTARTS = """\
# Kickstarts

<!-- Made by ci/reference.py from the code: change that, then run it. -->

The fragments of a recipe are rendered, `%include`d fragments are put in their places, and the whole is checked by pykickstart with the syntax of the recipe's distribution.
Debian has no kickstart syntax of its own; its recipes are read with that of the EL release of its time: {versions}.

`%include` takes the name of a fragment, looked for beside the one that includes it, then in the project's `kickstarts/`, then among those that come with imagebuilder.

## Several lines of one command

Each line is applied, in the order in which they stand, so that fragments add to each other: the services, ports and kernel arguments of all lines hold.
Of `lang`, `keyboard`, `timezone`, `rootpw`, `selinux` and of `skipx` and `xconfig` together the last line holds.
In `%packages` the later line holds: a child takes out what its parent put in with `-NAME`.

## What the direct engine does with each line

A line is **honoured**, **without effect** on a live image (a build lists these as notes), or **refused** with the fragment's file and line, before anything is made.
What can be said without an index of packages is said at once and all together; what needs one, such as a locale without the package that makes it, directly after.

### Where packages come from: `url` and `repo`

Without a `url` line they come from the project file's `[mirrors]`, else from the host's own apt.
The text of `url --url` and `repo --baseurl` is one of these; the words after the URL are apt's:

```
url --url=https://mirror.example.org/debian
url --url="https://mirror.example.org/debian bookworm main contrib non-free-firmware"
repo --name=site --baseurl="[signed-by=keys/site.asc] https://apt.example.org/site bookworm main"
repo --name=flat --baseurl="[trusted=yes] file:///srv/packages ./"
repo --name=many --baseurl="mirror+https://mirror.example.org/list.txt bookworm main"
```

A key is a file of this host, or one below the project's folder; `.asc` is armoured, `.gpg` is not.
`--includepkgs` and `--excludepkgs` take names and patterns with commas between them.
apt tells repositories apart by what their Release files say (Origin, Label, Suite, Codename), else by their hosts; one that it cannot tell from another is refused.

The image's own `sources.list` has the mirrors that it was made from, without credentials, and without what is on the build host alone (`file:`).
A `repo` is in it only with `--install`: then with its key (in `/etc/apt/keyrings`), pins and proxy.

### `%packages`

- `NAME`, `NAME=VERSION`, `NAME:ARCH`; `-NAME` stays out.
- `linux-headers-*`, with `*`, `?` and `[…]`: all packages of such names, at most 1,000.
- `@core`: Debian's priorities required and important; `@standard`: standard as well.  `@^minimal-environment` is `@core`.
- `@NAME` and `@^NAME` are Debian's task `task-NAME`: `@ssh-server`, `@^gnome-desktop`.  What the task depends on is mandatory, what it recommends default (left out by `--nodefaults`), what it suggests optional (`--optional`).
- `-@NAME` takes back what `@NAME` asked for; what others need of it stays.

An image has what is named, what that needs, and Debian's essential and required packages.

### Scripts

`%pre` and `%pre-install` run at every build of the image, first, outside of it, in the project's folder, with the rights of who builds.
They cannot change what is planned: what they would write for `%include` is refused.
What they write to `/tmp` is there for `%post --nochroot` and `%onerror`: this `/tmp` is one of the build's own, and gone afterwards.
What these scripts and `%post --nochroot` read outside of the image is no input of it: if it changes, nothing is made again.
Files of the project that go into the image belong in the recipe's `[[files]]`, which are inputs.
`/mnt/sysimage` is the image, once there is one.
`%post` runs in the image, when the commands are applied and the recipe's files are copied.
`%onerror` runs when a step of the build has failed; its output is in the build's logs.

What belongs to one machine is taken out of the image at last: SSH host keys, `/etc/machine-id`, seeds of random numbers, leases, initiator names.
Where Debian's SSH server is and no unit makes host keys, `ssh-host-keys.service` makes them at boot.

### Commands

"""


def keys(model: type[BaseModel], prefix: str = "") -> list[str]:
    """Return the rows of a table of a model's keys."""
    rows = []
    for name, field in model.model_fields.items():
        schema = model.model_json_schema()["properties"][name]
        default = "" if field.is_required() else json.dumps(schema.get("default", ""))
        default = "" if default in ("", '""', "null") else f"`{default}`"
        rows.append(f"| `{prefix}{name}` | {field.description or ''} | {default} |")
    return rows


def table(title: str, rows: list[str], intro: str = "") -> str:
    """Return a section with a table of keys."""
    head = ["| key | what it says | default |", "| --- | --- | --- |"]
    return "\n".join([f"\n## {title}\n", *([intro + "\n"] if intro else []), *head, *rows, ""])


def recipes() -> str:
    """Return the page on recipes."""
    tables = (
        "kernel",
        "image",
        "livemedia",
        "smoke",
        "files",
        "declare",
        "secrets",
        "matrix",
        "waivers",
    )
    top = [
        row
        for row in keys(Recipe)
        if not any(row.startswith(f"| `{name}`") for name in (*tables, "name"))
    ]
    # What a variant cannot have comes first: what the recipe is.
    top.sort(key=lambda row: any(row.startswith(f"| `{name}`") for name in Content.model_fields))
    parts = [RECIPES, table("Keys", top)]
    models: dict[str, type[BaseModel]] = {
        "[kernel]": KernelOptions,
        "[image]": ImageOptions,
        "[livemedia]": LivemediaOptions,
        "[smoke]": SmokeOptions,
        "[[smoke.nics]]": Nic,
        "[smoke.budget]": Budget,
        "[[files]]": FileEntry,
        "[declare.NAME]": Declared,
        "[secrets.NAME]": SecretSource,
        "[matrix]": Matrix,
        "[[waivers]]": Waiver,
    }
    for name, model in models.items():
        parts.append(table(f"`{name}`", keys(model)))
    parts.append(CHECKS)
    parts.append(table("What any check can have", keys(checks.BaseCheck)).replace("## ", "### "))
    for name, model in checks.KINDS.items():
        own = [row for row in keys(model) if row not in keys(checks.BaseCheck)]
        intro = inspect.getdoc(model) or ""
        parts.append(table(f"A check with `{name}`", own, intro).replace("## ", "### "))
    parts.append(
        table("The project file `imagebuilder.toml`", keys(ProjectFile), "It need not be there.")
    )
    return "".join(parts).replace("\n\n\n", "\n\n")


def kickstarts() -> str:
    """Return the page on kickstarts."""
    versions = ", ".join(
        f"{each} with {distro.find(each).kickstart_version}" for each in distro.names()
    )
    parts = [KICKSTARTS.format(versions=versions)]
    parts.append(fates("command", sorted(COMMANDS.items())))
    parts.append("\n## Sections\n\n")
    parts.append(fates("section", [*SECTIONS.items()]))
    rows = [(f"%addon {name}", Row(each)) for name, each in sorted(ADDONS.items())]
    parts.append("\n### Add-ons\n\n")
    parts.append(fates("add-on", [*rows, ("any other", Row(ANY_ADDON))]))
    return "".join(parts)


def fates(what: str, rows: list[tuple[str, Row]]) -> str:
    """Return a table of fates: each command, below it those of its options."""
    lines = [f"| {what} | option | | what becomes of it |", "| --- | --- | --- | --- |"]
    for name, row in rows:
        lines.append(f"| **`{name}`** | | {row.fate.kind} | {_words(row.fate)} |")
        lines += [
            f"| | `{option}` | {each.kind} | {_words(each)} |"
            for option, each in sorted(row.options.items())
        ]
    return "\n".join(lines) + "\n"


def _words(fate: Fate) -> str:
    fix = f". Instead: {fate.fix}" if fate.fix else ""
    return f"{fate.text}{fix}".replace("|", "\\|")


def schema() -> str:
    """Return the JSON Schema of a recipe file."""
    return json.dumps(json_schema(), indent=1) + "\n"


def lock_schema() -> str:
    """Return the JSON Schema of a lock file."""
    return json.dumps(lockfile.json_schema(), indent=1) + "\n"


def remote_schema() -> str:
    """Return the JSON Schema of the manifests of a remote cache."""
    return json.dumps(Manifest.model_json_schema(mode="serialization"), indent=1) + "\n"


def smoke_schema() -> str:
    """Return the JSON Schema of the report of a test."""
    return json.dumps(SmokeReport.model_json_schema(mode="serialization"), indent=1) + "\n"


def results_schema() -> str:
    """Return the JSON Schema of what test --report json=FILE writes."""
    return json.dumps(results_json_schema(), indent=1) + "\n"


def lines_schema() -> str:
    """Return docs/schemas/lines.json."""
    return json.dumps(lines.json_schema(), indent=1) + "\n"


PAGES = {
    "recipes.md": recipes,
    "kickstarts.md": kickstarts,
    "lint.md": lint,
    "schemas/recipe.json": schema,
    "schemas/lock.json": lock_schema,
    "schemas/remote-cache.json": remote_schema,
    "schemas/smoke-report.json": smoke_schema,
    "schemas/smoke-results.json": results_schema,
    "schemas/lines.json": lines_schema,
    **{f"schemas/{name}": partial(str, text) for name, text in catalog_schemas().items()},
}

if __name__ == "__main__":
    for name, make in PAGES.items():
        (DOCS / name).write_text(make())

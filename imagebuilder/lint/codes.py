"""Every kind of finding: its code, what it means, an example, and what to do."""

from __future__ import annotations

from imagebuilder.lint.code import SEVERITIES as SEVERITIES
from imagebuilder.lint.code import Code as Code
from imagebuilder.lint.code import Severity as Severity
from imagebuilder.lint.codes_recipes import GENERAL, PACKAGES

_SECRETS = (
    Code(
        code="IB301",
        severity="error",
        title="a password stands in plain text",
        meaning="Whoever reads the project's history has it.",
        example="rootpw --plaintext correct-horse",
        fix='write its hash with --iscrypted (mkpasswd makes one), or {{ secret("NAME") }}',
    ),
    Code(
        code="IB302",
        severity="warning",
        title="what looks like a secret stands in a script",
        meaning="A variable or option whose name says password, token or secret has a value.",
        example="%post --erroronfail\nset -eu\nAPI_TOKEN=ab12cd34ef56\necho $API_TOKEN\n%end",
        fix='write {{ secret("NAME") }} in its place',
    ),
    Code(
        code="IB303",
        severity="error",
        title="credentials stand in a URL",
        meaning="Whoever reads the project's history has them; programs log URLs.",
        example="repo --name=site --baseurl=https://build:hunter22@repo.example.org/",
        fix="put them into apt's auth.conf of the build host (apt_auth.conf(5)), or write "
        '{{ secret("NAME") }}',
    ),
    Code(
        code="IB304",
        severity="error",
        title="an account has an empty password",
        meaning="Anybody who reaches a login prompt is in.",
        example="%post --erroronfail\nset -eu\npasswd --delete root\n%end",
        fix="lock the account (rootpw --lock, user --lock), and let keys in",
    ),
    Code(
        code="IB305",
        severity="warning",
        title="root can log in over SSH with a password",
        meaning="One password for a whole fleet is guessed or found sooner or later.",
        example="rootpw --allow-ssh --iscrypted $6$salt$hash",
        fix="use sshkey --username=root, and leave PermitRootLogin as it is",
    ),
    Code(
        code="IB306",
        severity="warning",
        title="a password's hash is weak or none",
        meaning="DES and MD5 hashes are broken in hours; what is no hash at all locks the "
        "account, or is taken for the password itself.",
        example="rootpw --iscrypted $1$salt$qJH7.N4xYta3aEG/dfqo/0",
        fix="make one with: mkpasswd --method=yescrypt (or sha-512)",
    ),
    Code(
        code="IB307",
        severity="error",
        title="a private key stands in a fragment",
        meaning="Whoever reads the project's history, or fetches the image, has it.",
        example="%post --erroronfail\nset -eu\ncat > /etc/ssl/k.pem <<'EOF'\n"
        "-----BEGIN PRIVATE KEY-----\nMC4C\n-----END PRIVATE KEY-----\nEOF\n%end",
        fix='make it at boot, let configuration management bring it, or write {{ secret("NAME") }}',
    ),
)

_UNITS = (
    Code(
        code="IB401",
        severity="error",
        title="a unit is enabled that nothing brings",
        meaning="No package of the image has the unit, no script writes it and no file of the "
        "recipe is it: the build fails when it is enabled, after the packages are installed.",
        example="services --enabled=sshdd",
        fix="add the package that brings it, or mend its name",
    ),
    Code(
        code="IB402",
        severity="warning",
        title="a check asks for a unit that nothing brings",
        meaning="The test of the image would fail after its boot.",
        example='[[checks]]\nunit = "sshdd.service"',
        example_is="recipe",
        fix="add the package that brings it, or mend its name",
    ),
)

_SCRIPTS = (
    Code(
        code="IB501",
        severity="error",
        title="a script cannot be run as it is",
        meaning="shellcheck finds an error in it, or it is no valid text of its language.",
        example="%post --erroronfail\nset -eu\nif true; then\n    echo yes\n%end",
        fix="mend the script",
    ),
    Code(
        code="IB502",
        severity="warning",
        title="shellcheck warns of a script",
        meaning="It does something else than it seems to, in some case.",
        example="%post --erroronfail\nset -eu\nfolder=/srv\nrm -rf $folder/$missing\n%end",
        fix="mend it; or put a line '# shellcheck disable=SCxxxx # why' before it",
    ),
    Code(
        code="IB504",
        severity="note",
        title="a script's failure goes unseen",
        meaning="Without `--erroronfail` the build goes on whatever the script's exit status is; "
        "without `set -e` that is the status of its last command alone.",
        example="%post\nset -eu\ntrue\n%end",
        fix="write %post --erroronfail, and set -eu as its first line",
    ),
    Code(
        code="IB505",
        severity="warning",
        title="anybody may write to a file",
        meaning="Every account of the machine, and whoever breaks into one, can change it.",
        example="%post --erroronfail\nset -eu\nchmod 777 /srv\n%end",
        fix="give it an owner, and a mode such as 0755",
    ),
    Code(
        code="IB506",
        severity="warning",
        title="what is fetched is run at once",
        meaning="What the server sends today goes into the image, whole or not: no digest says "
        "that it is what was meant.",
        example="%post --erroronfail\nset -eu\ncurl -fsS https://example.org/get | sh\n%end",
        fix="fetch it into a file, compare its digest (sha256sum --check), then run it",
    ),
)

_CONTRADICTIONS = (
    Code(
        code="IB601",
        severity="warning",
        title="a unit is enabled and disabled",
        meaning="One fragment undoes what another does; which of them holds follows from their "
        "order alone.",
        example="services --enabled=ssh\nservices --disabled=ssh",
        fix="take out one of the two; or let a param decide",
    ),
    Code(
        code="IB602",
        severity="warning",
        title="a package is wanted and excluded",
        meaning="One fragment takes out what another puts in; the later line holds. (A "
        "recipe's own `packages` may take out what its fragments put in.)",
        example="%packages\nvim\n-vim\n%end",
        fix="take out one of the two; or exclude it in the recipe's packages",
    ),
    Code(
        code="IB603",
        severity="warning",
        title="a setting is given twice, differently",
        meaning="Only one can hold: the last.",
        example="timezone Europe/Berlin --utc\ntimezone Etc/UTC --utc",
        fix="take out one of the two; or let a param decide",
    ),
    Code(
        code="IB604",
        severity="warning",
        title="a device, user or group is described twice, differently",
        meaning="The two descriptions are put on top of each other, or the build fails at the "
        "second.",
        example="network --device=eth0 --bootproto=dhcp\n"
        "network --device=eth0 --bootproto=static --ip=192.0.2.1 --netmask=255.255.255.0",
        fix="say it in one line",
    ),
)

_KERNEL = (
    Code(
        code="IB701",
        severity="warning",
        title="a kernel argument is given twice",
        meaning="Once would do, and who changes one of them will miss the other.",
        example='bootloader --append="quiet"\nbootloader --append="quiet"',
        fix="take out one of the two",
    ),
    Code(
        code="IB702",
        severity="warning",
        title="kernel arguments contradict each other",
        meaning="The same argument has two values, of which the last holds; or one argument "
        "turns off what the other turns on.",
        example='bootloader --append="intel_iommu=on"\nbootloader --append="intel_iommu=off"',
        fix="take out one of the two; a recipe replaces its parent's with [replace] kernel.args",
    ),
    Code(
        code="IB703",
        severity="warning",
        title="a kernel argument that the boot script sets",
        meaning="The image's boot script names the root and how it is mounted: a second value "
        "makes the machine look for another root, or stop.",
        example='bootloader --append="root=/dev/sda1"',
        fix="take it out; what differs from machine to machine goes into the boot script's "
        "extra-args",
    ),
)

_UNUSED = (
    Code(
        code="IB801",
        severity="warning",
        title="no recipe uses a fragment",
        meaning="Nobody would notice if it broke. Only looked for in a whole project (`--all`).",
        example="kickstarts = []  # and a file kickstarts/left-over.ks",
        example_is="recipe",
        fix="remove the file, or name it in a recipe",
    ),
    Code(
        code="IB802",
        severity="warning",
        title="a param is set that no template uses",
        meaning="Most often its name is misspelt, and the fragment's default holds.",
        example='[params]\nbrige = "br1"',
        example_is="recipe",
        fix="mend its name, or take it out",
    ),
)

_WAIVERS = (
    Code(
        code="IB901",
        severity="warning",
        title="a waiver has expired",
        meaning="What it accepted counts again.",
        example='[[waivers]]\ncode = "IB104"\nreason = "for installations"\nuntil = 2020-01-31',
        example_is="recipe",
        fix="mend what it was for, or give the waiver a new date",
    ),
    Code(
        code="IB902",
        severity="warning",
        title="a waiver matches nothing",
        meaning="What it accepted is gone, or it is misspelt.",
        example='[[waivers]]\ncode = "IB506"\nreason = "vendor says so"\nuntil = 2099-12-31',
        example_is="recipe",
        fix="remove it",
    ),
    Code(
        code="IB903",
        severity="warning",
        title="a waiver for a code that there is not",
        meaning="It can't match anything.",
        example='[[waivers]]\ncode = "IB999"\nreason = "?"\nuntil = 2099-12-31',
        example_is="recipe",
        fix="docs/lint.md lists the codes",
    ),
    Code(
        code="IB904",
        severity="warning",
        title="a waiver for a check that there is not",
        meaning="The recipe has no check of that name: a test that fails is not helped by it.",
        example='[[waivers]]\ncheck = "port 23/tcp"\nreason = "?"\nuntil = 2099-12-31',
        example_is="recipe",
        fix="write the check as reports call it, or remove the waiver",
    ),
)

GROUPS: dict[str, tuple[Code, ...]] = {
    "Recipes and kickstarts": GENERAL,
    "Packages": PACKAGES,
    "Secrets": _SECRETS,
    "Units": _UNITS,
    "Scripts": _SCRIPTS,
    "Contradictions": _CONTRADICTIONS,
    "Kernel arguments": _KERNEL,
    "What is not used": _UNUSED,
    "Waivers": _WAIVERS,
}
CODES: dict[str, Code] = {each.code: each for group in GROUPS.values() for each in group}

"""Every kind of finding: its code, what it means, an example, and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """A kind of finding.

    Attributes:
        code: its name.
        severity: how bad it is.
        title: what was found, in few words.
        meaning: why it matters.
        example: a piece of a fragment, or of a recipe, that has it.
        example_is: which of the two.
        fix: what to do about it, unless the finding itself says more.
    """

    code: str
    severity: Severity
    title: str
    meaning: str
    example: str
    example_is: Literal["fragment", "recipe"] = "fragment"
    fix: str


_GENERAL = (
    Code(
        code="IB100",
        severity="note",
        title="something was not looked at",
        meaning="A check needs a program, the package index or a network that is not there, "
        "or the recipe does what cannot be foreseen. What it would have found is not known.",
        example="%post --erroronfail --interpreter=/usr/bin/perl\nprint 'hello';\n%end",
        fix="the text says what is missing",
    ),
    Code(
        code="IB101",
        severity="error",
        title="the recipe cannot be resolved",
        meaning="Its file is not valid, its parent is missing, or a value is refused. "
        "Nothing can be built from it.",
        example='kernl = { args = ["quiet"] }',
        example_is="recipe",
        fix="mend the recipe",
    ),
    Code(
        code="IB102",
        severity="error",
        title="the kickstart is not valid",
        meaning="A fragment is missing, its template fails, or the result is no kickstart of "
        "the distribution's version.",
        example="timezon Europe/Berlin",
        fix="mend the fragment",
    ),
    Code(
        code="IB103",
        severity="error",
        title="the engine refuses it",
        meaning="The engine that the recipe names can't do what the kickstart asks for, and a "
        "build would end before it begins.",
        example="authselect select sssd",
        fix="leave it out, or name another engine",
    ),
    Code(
        code="IB104",
        severity="note",
        title="it has no effect",
        meaning="On a live image the command, option or key changes nothing.",
        example="clearpart --all",
        fix="leave it out, unless the fragment serves installations as well",
    ),
    Code(
        code="IB105",
        severity="warning",
        title="it is deprecated",
        meaning="The kickstart language of this version still takes it, a later one will not.",
        example="%packages --excludeWeakdeps\n%end",
        fix="write what the text names in its place",
    ),
    Code(
        code="IB106",
        severity="error",
        title="a file of the recipe cannot be copied",
        meaning="The source of a `[[files]]` entry is missing, lies outside of the project, or "
        "is a template that fails.",
        example='[[files]]\nsource = "files/motd"\npath = "/etc/motd"',
        example_is="recipe",
        fix="add the file to the project, or mend the entry's source",
    ),
    Code(
        code="IB107",
        severity="note",
        title="the recipe has no checks",
        meaning="Its image counts as good as soon as it boots: nothing says what must run in it.",
        example="[replace]\nchecks = []",
        example_is="recipe",
        fix="add [[checks]] that say what the image is for",
    ),
    Code(
        code="IB108",
        severity="error",
        title="a script of a check cannot be carried into the guest",
        meaning="The file of a check with `script` is missing, lies outside of the project, or is "
        "larger than 1 MiB: the image would be built, and could not be tested.",
        example='[[checks]]\nscript = "checks/storage.sh"',
        example_is="recipe",
        fix="add the file to the project, or mend the check",
    ),
    Code(
        code="IB111",
        severity="error",
        title="livemedia-creator refuses the kickstart",
        meaning="For Fedora, RHEL and their kin images are made with livemedia-creator, which "
        "ends at once with such a kickstart.",
        example="text",
        fix="the text is livemedia-creator's own rule",
    ),
)

_PACKAGES = (
    Code(
        code="IB201",
        severity="error",
        title="the packages cannot be installed",
        meaning="The distribution's index has no package of that name, or those that are wanted "
        "exclude each other.",
        example="%packages\nopenssh-sever\n%end",
        fix="look for the name in the distribution",
    ),
    Code(
        code="IB202",
        severity="error",
        title="the image could not boot over the network",
        meaning="A kernel, dracut, or a dracut module that fetches the root over the network is "
        "missing: such an image is built for minutes, and then fails or never boots.",
        example="%packages\n-dracut-live\n%end",
        fix="add the packages that the text names",
    ),
    Code(
        code="IB203",
        severity="warning",
        title="an answer that no package asks for",
        meaning="A line of `preseed` is for a package that the image does not get.",
        example='preseed = ["postfix postfix/mailname string example.org"]',
        example_is="recipe",
        fix="take it out, or add the package",
    ),
    Code(
        code="IB204",
        severity="warning",
        title="packages are taken without a check of who made them",
        meaning="`[trusted=yes]` over plain HTTP, `--noverifyssl` or `--nogpgcheck`: whoever is "
        "on the way can put anything into the image.",
        example='repo --name=site --baseurl="deb [trusted=yes] http://repo.example.org/ ./"',
        fix="sign the repository and name its key with signed-by, or use https",
    ),
    Code(
        code="IB205",
        severity="error",
        title="a check asks for a package that is not in the image",
        meaning="It asks for a package that the image does not get. Where a script of the "
        "kickstart installs software itself nothing is said: what it brings is not known.",
        example='[[checks]]\npackage = "postfix"',
        example_is="recipe",
        fix="add the package, or mend the check",
    ),
)

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
    "Recipes and kickstarts": _GENERAL,
    "Packages": _PACKAGES,
    "Secrets": _SECRETS,
    "Units": _UNITS,
    "Scripts": _SCRIPTS,
    "Contradictions": _CONTRADICTIONS,
    "Kernel arguments": _KERNEL,
    "What is not used": _UNUSED,
    "Waivers": _WAIVERS,
}
CODES: dict[str, Code] = {each.code: each for group in GROUPS.values() for each in group}

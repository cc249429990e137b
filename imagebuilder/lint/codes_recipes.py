"""The codes of what lint finds in recipes, kickstarts and package lists."""

from __future__ import annotations

from imagebuilder.lint.code import Code

GENERAL = (
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

PACKAGES = (
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

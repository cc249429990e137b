"""The fate of each section of a kickstart, and of Anaconda's add-ons."""

from __future__ import annotations

from imagebuilder.engines.direct.fate_kinds import Fate, Row, honoured, idle, refused

_INTERPRETER = honoured("the program that runs it, `/bin/sh` by default")
_ERROR_ON_FAIL = honoured("its failure ends the build; else it is noted, and the build goes on")
_OUTSIDE_LOG = honoured(
    "a file that gets what it says: below `/tmp`, or below `/mnt/sysimage`, which is the image"
)
_OUTSIDE = {
    "--interpreter": _INTERPRETER,
    "--erroronfail": _ERROR_ON_FAIL,
    "--log": _OUTSIDE_LOG,
    "--logfile": _OUTSIDE_LOG,
}
_WEAK = honoured("what packages recommend does not come along; holds for all sections")
_LANGUAGES = honoured(
    "translations of these languages alone, `de:fr` or `de,fr`; `none` or nothing for none: "
    "what else is in `/usr/share/locale`, and other manuals, is taken out"
)
_DOCS = honoured(
    "no documentation but licences: the rest of `/usr/share/doc`, `man`, `info` is taken out"
)

SECTIONS: dict[str, Row] = {
    "%packages": Row(
        honoured("see below"),
        {
            "--exclude-weakdeps": _WEAK,
            "--excludeWeakdeps": _WEAK,
            "--ignoremissing": honoured("packages and groups that nobody knows are noted"),
            "--excludedocs": _DOCS,
            "--inst-langs": _LANGUAGES,
            "--instLangs": _LANGUAGES,
            "--default": honoured("`@core` and `@standard`: what Debian's own installer puts in"),
            "--retries": honoured("how often apt tries to fetch a package"),
            "--timeout": honoured("seconds that apt waits for a mirror"),
            "--nocore": idle("`@core` is in an image only if a line names it"),
            "--ignorebroken": refused(
                "apt installs all that is asked for, or nothing",
                "take it out; of names that nobody knows say --ignoremissing",
            ),
            "--multilib": refused(
                "an image has packages of one architecture",
                "take it out; one package of another: dpkg --add-architecture in a %post section",
            ),
        },
    ),
    "%pre": Row(
        honoured("run at the build before all else, outside the image; see below"), _OUTSIDE
    ),
    "%pre-install": Row(honoured("run after `%pre`, outside the image, before packages"), _OUTSIDE),
    "%post": Row(
        honoured("run in the image when all else is done, in the order in which they stand"),
        {
            "--nochroot": honoured("run outside the image, which is `/mnt/sysimage`; see below"),
            "--interpreter": _INTERPRETER,
            "--erroronfail": _ERROR_ON_FAIL,
            "--log": honoured("a file of the image that gets what it says"),
            "--logfile": honoured("as `--log`"),
        },
    ),
    "%onerror": Row(
        honoured(
            "run outside the image when a step of the build has failed; it never hides the "
            "first error"
        ),
        {**_OUTSIDE, "--erroronfail": idle("the build has failed already")},
    ),
    "%traceback": Row(idle("no installer runs that could crash")),
    "%certificate": Row(
        honoured("a file of the image with the section's text"),
        {
            "--filename": honoured("its name"),
            "--dir": honoured("its folder, absolute"),
            "--type": honoured("`anchor`: an authority that the image trusts (ca-certificates)"),
        },
    ),
    "%anaconda": Row(idle("no installer runs whose settings it could change")),
    "%include": Row(
        refused(
            "it names what a %pre script would write, and a plan must know all before any runs",
            "make it a fragment, a template with params; of a fragment give the name alone",
        )
    ),
    "%ksappend": Row(
        refused(
            "it takes what another kickstart starts with from a URL, which a plan cannot rest on",
            "put that text into a fragment, and name it in the recipe or in %include",
        )
    ),
}

_INTO_POST = "say in a %post section what it would do"

# By name: what Anaconda's add-ons would do, and what does it on Debian.
ADDONS: dict[str, Fate] = {
    "com_redhat_kdump": refused(
        "it is Anaconda's add-on for kdump",
        "add the package kdump-tools and bootloader --append=crashkernel=256M; settings: "
        "/etc/default/kdump-tools in a %post section",
    ),
    "com_redhat_subscription_manager": refused(
        "it is Anaconda's add-on for Red Hat's subscriptions, which Debian has not", "take it out"
    ),
    "org_fedora_oscap": refused(
        "it is Anaconda's add-on for OpenSCAP",
        "add the packages openscap-scanner and ssg-debian, and run oscap xccdf eval --remediate "
        "in a %post section",
    ),
    "org_fedora_initial_setup": refused(
        "it sets up the assistant of the first boot, and each boot of a live image is its first",
        "say in the kickstart what it would ask",
    ),
    "org_fedora_hello_world": refused("it is the example of an add-on", "take it out"),
}
ANY_ADDON = refused("Anaconda's add-ons are programs of Anaconda, which does not run", _INTO_POST)

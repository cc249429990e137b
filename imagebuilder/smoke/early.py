"""What is looked at in the guest before its root takes over: by hooks of dracut.

What they find wrong they write to the kernel's log, and so to the console, in lines that begin
with ``imagebuilder:`` (the table of badness knows them).
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources

from imagebuilder.cpio import Entry

# dracut up to 059 and since (its hookdir); where there is none the kernel leaves the file out.
HOOK_FOLDERS = ("usr/lib/dracut/hooks", "var/lib/dracut/hooks")

FOLDER = "/run/imagebuilder-smoke"  # of the runner, in the guest
MEMORY_SAMPLES = f"{FOLDER}/memory"  # the runner hands them on
_MEMORY = resources.files(__package__).joinpath("looks/boot.sh").read_text(encoding="utf-8")

# dracut sources its hooks: a subshell keeps their variables and failures to themselves.
# A kernel that needs no modules is no error; modules of another kernel alone are.
_MODULES = """\
check_modules() {
    [ -d "$1/lib/modules" ] || return 0
    release=$(uname -r)
    [ -d "$1/lib/modules/$release" ] && return 0
    others=$(cd "$1/lib/modules" && echo *)
    [ "$others" = '*' ] && others=none
    echo "<3>imagebuilder: the $2 has no modules for the kernel $release; has: $others" >/dev/kmsg
}
"""

# A file system of its own, since the overlay over the root lies in /run as a rule: what fills
# that must not keep the runner from telling of it.
TAKE_ROOM = f"""\
take_room() {{
    mkdir -p {FOLDER}
    while read -r _ place _; do
        [ "$place" = {FOLDER} ] && return
    done </proc/mounts
    mount -t tmpfs -o mode=755 imagebuilder-smoke {FOLDER}
}}
"""


def _early(memory_interval: int) -> str:
    return f"""\
#!/bin/sh
(
{_MODULES}
{_MEMORY}
{TAKE_ROOM}
check_modules "" initrd
take_room
watch_memory {MEMORY_SAMPLES} 1 {memory_interval} </dev/null >/dev/null 2>&1 &
) 2>/dev/null
"""


# Run each time that udev has settled and the root is not there yet, some times a second.
# A network card that has a driver is there by then.
_SETTLED_OFTEN = 8
_SETTLED = f"""\
#!/bin/sh
(
for card in /sys/class/net/*; do
    [ -e "$card/device" ] && exit
done
seen={FOLDER}/no-card
echo >>$seen
times=0
while read -r _; do times=$((times + 1)); done <$seen
if [ $times -eq {_SETTLED_OFTEN} ]; then
    echo "<3>imagebuilder: the initrd has no driver for the machine's network card" >/dev/kmsg
fi
) 2>/dev/null
"""

_LATE = f"""\
#!/bin/sh
(
{_MODULES}
check_modules "$NEWROOT" "root file system"
tell() {{
    echo "<3>imagebuilder: the root file system $1" >/dev/kmsg
}}
# systemd switches to no root without it.
[ -e "$NEWROOT/etc/os-release" ] || [ -e "$NEWROOT/usr/lib/os-release" ] ||
    tell "has no os-release, so it is taken for no system"
named=$(getarg init=)
init=${{named:-/sbin/init}}
# Links in it are its own, so each is followed from there.
for _ in 1 2 3 4 5; do
    [ -L "$NEWROOT$init" ] || break
    next=$(readlink "$NEWROOT$init") || exit
    case $next in /*) init=$next ;; *) init=${{init%/*}}/$next ;; esac
done
if [ -n "$named" ]; then
    [ -x "$NEWROOT$init" ] ||
        tell "has no $named that can be run, which the kernel's argument init= names"
# systemd in an initrd runs the systemd of the root, and /sbin/init only where there is none.
elif ! {{ [ -d /run/systemd/system ] && [ -x "$NEWROOT/usr/lib/systemd/systemd" ]; }}; then
    [ -x "$NEWROOT$init" ] || tell "has no /sbin/init that can be run"
fi
# systemd says nothing of this on the console.  A generator may make one, so it ends nothing.
if [ -x "$NEWROOT/usr/lib/systemd/systemd" ] && ! getarg systemd.unit= >/dev/null; then
    for folder in etc usr/lib lib; do
        target=$NEWROOT/$folder/systemd/system/default.target
        [ -e "$target" ] || [ -L "$target" ] && exit
    done
    tell "has no default.target, so systemd has nothing to start but a rescue shell"
fi
) 2>/dev/null
"""


def early_entries(memory_interval: int) -> Sequence[Entry]:
    """Return the files of the initramfs archive that are these hooks.

    Args:
        memory_interval: seconds from one look at the memory to the next.
    """
    hooks = (
        ("cmdline/00", _early(memory_interval)),
        ("initqueue/settled/00", _SETTLED),
        ("pre-pivot/94", _LATE),
    )
    return [
        Entry(path=f"{folder}/{place}-imagebuilder-look.sh", content=text.encode())
        for folder in HOOK_FOLDERS
        for place, text in hooks
    ]

# Runs livemedia-creator in a container, a mock chroot or on another host.
#
#   sh -c THIS supervise KICKSTART MARK FOLDER COMMAND...
#
# Takes the kickstart from standard input, up to a line that is MARK.  What follows there is
# nothing, and its end is the end of whoever wanted this: then all that runs is killed.
# FOLDER is made on another host, for tmp/, logs/ and results/; "" where folders are shared.
set -u
umask 077
trap : PIPE # whoever listened may be gone when there is something to be said, and to be removed
kickstart=$1 mark=$2 folder=$3
shift 3

# What was killed may be at work for a moment more, and so come between.
clean() {
    left=50
    while [ -n "$folder" ] && [ -e "$folder" ] && [ "$left" -gt 0 ]; do
        rm -rf --one-file-system -- "$folder" 2>/dev/null || sleep 0.2
        left=$((left - 1))
    done
}
exec 3<&0 </dev/null
text=$(sed -n "/^$mark\$/q;p" <&3) || exit 1
if [ -n "$folder" ]; then
    mkdir -- "$folder" "$folder/tmp" "$folder/logs" "$folder/private" || exit 1
fi

# In namespaces of its own: a kill of the first process takes all others, mounts and loop devices.
# So does it with the kickstart, which is nowhere but in memory: it may have secrets.
# shellcheck disable=SC2016 # it is the inner shell that is to expand it
printf '%s\n' "$text" | unshare --mount --propagation private --pid --fork --kill-child=KILL --mount-proc -- sh -c '
kickstart=$1 folder=$2
shift 2
mount -t tmpfs -o mode=1777 tmpfs /dev/shm && cat >"$kickstart" || exit 1
exec </dev/null
if [ -z "$folder" ]; then
    exec "$@"
fi
# Lets new names in a folder of the host be ours alone; what stands in it stays visible.
own() {
    new=$folder/private$(echo "$1" | tr / -)
    mkdir -m "$(stat -c %a "$1")" "$new"
    for each in "$1"/* "$1"/.[!.]*; do
        name=${each##*/}
        case $name in *log | anaconda* | lorax* | sysimage | install | imagebuilder-*) continue ;; esac
        if [ -L "$each" ]; then
            cp -P -- "$each" "$new/$name"
        elif [ -d "$each" ]; then
            mkdir "$new/$name" && mount --rbind "$each" "$new/$name"
        elif [ -e "$each" ]; then
            : >"$new/$name" && mount --bind "$each" "$new/$name"
        fi
    done 2>/dev/null
    mount --rbind "$new" "$1"
}
own /tmp
own /run
own /mnt
busy() { cat /proc/[0-9]*/stat 2>/dev/null | sed "s/.*) //" |
    awk "{ s += \$12 + \$13 + \$14 + \$15 } END { print s + 0 }"; }
: >"$folder/logs/program.log"
tail -q -n +1 -F "$folder/logs/program.log" /tmp/anaconda.log /tmp/packaging.log 2>/dev/null &
# mksquashfs and dracut say nothing for minutes: that they work is a sign of life, too.
{
    before=$(busy)
    while sleep 5; do
        now=$(busy)
        [ "$((now - before))" -lt 100 ] || echo "imagebuilder: it works"
        before=$now
    done
} &
"$@"
status=$?
mkdir -p "$folder/logs/anaconda"
for each in /tmp/*log /tmp/anaconda-tb-*; do
    [ ! -f "$each" ] || cp -n -- "$each" "$folder/logs/anaconda/"
done
exit "$status"
' inside "$kickstart" "$folder" "$@" &
child=$!
text=
{
    cat
    kill -KILL "$child"
} <&3 >/dev/null 2>&1 &
reader=$!
exec 3<&-
trap 'kill -KILL "$child"; wait "$child"; clean; exit 143' HUP INT TERM
wait "$child"
status=$?
kill "$reader"
if [ "$status" = 137 ]; then
    clean
fi
exit "$status"

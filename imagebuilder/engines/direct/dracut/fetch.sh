#!/bin/sh
# imagebuilderroot - fetch the root file system, and mount it only if it is the one that was named
#
# Called by dracut when the network is up, in place of livenetroot, with netroot=imagebuilder:URL.
# On the kernel's command line:
#   imagebuilder.rootfs.sha256=  its SHA-256, 64 hexadecimal digits
#   imagebuilder.rootfs.size=    its size in bytes, so that one cut short is told from another one
# What cannot become better is said at once, and the boot ends; what can is tried again, and a
# transfer that was cut goes on where it was cut.

# shellcheck source=/dev/null
command -v getarg > /dev/null || . /lib/dracut-lib.sh
# shellcheck source=/dev/null
. /lib/url-lib.sh

PATH=/usr/sbin:/usr/bin:/sbin:/bin
RETRIES=${RETRIES:-100} # as many as livenet's
SLEEP=${SLEEP:-5}       # seconds
STUCK=10                # so many cuts without one byte between them end a transfer
PLACE=/tmp/imagebuilder-rootfs
KMSG=/dev/kmsg

# say PRIORITY TEXT: on every console, even with "quiet" where the priority is critical
say() {
    echo "<$1>imagebuilder: the root file system $2" > "$KMSG"
}

give_up() {
    say 26 "$1" # daemon.crit
    action=$(getarg rd.emergency=)
    case "$action" in
        reboot | poweroff | halt)
            sleep "$SLEEP" # for whoever reads the console
            systemctl --no-block --force "$action" || "$action" -f
            exit 1
            ;;
    esac
    die "the root file system $1"
}

# The network may come up on several cards, and this is called for each.
mkdir "$PLACE" 2> /dev/null || exit 0

url="${2#imagebuilder:}"
shown="${url%%\?*}" # what follows may be a signature
sha256=$(getarg imagebuilder.rootfs.sha256=)
size=$(getarg imagebuilder.rootfs.size=)
file="$PLACE/rootfs.squashfs"

case "$sha256" in
    *[!0-9a-f]*) give_up "has no SHA-256 that could be compared: imagebuilder.rootfs.sha256=$sha256" ;;
esac
[ "${#sha256}" = 64 ] || give_up "has no SHA-256 that could be compared: imagebuilder.rootfs.sha256=$sha256"
case "$size" in
    *[!0-9]*) size= ;;
esac

say 30 "is fetched from $shown"
: > "$file"
attempt=0 stuck=0 got=0
while :; do
    attempt=$((attempt + 1))
    # shellcheck disable=SC2086,SC2154 # dracut's own arguments, which are several
    code=$(curl $curl_args --silent --speed-limit 1 --speed-time 60 --connect-timeout 30 \
        ${size:+--max-filesize "$size"} --continue-at "$got" --output "$file" --write-out '%{http_code}' -- "$url" 2> "$PLACE/said")
    status=$?
    before=$got
    got=$(wc -c < "$file")
    got=$((got))
    said=$(sed -n '$p' "$PLACE/said")
    if [ "$got" -gt "$before" ]; then
        stuck=0
    else
        case "$status" in
            5 | 6 | 7 | 22 | 35) ;; # nobody answered, or with an error: the file is not to blame
            *) stuck=$((stuck + 1)) ;;
        esac
    fi

    if [ "$status" = 0 ] || { [ -n "$size" ] && [ "$got" -ge "$size" ]; }; then
        break
    fi
    case "$status" in
        22)
            case "$code" in
                404 | 410) give_up "is not there: the server answers $code to $shown" ;;
                408 | 429) ;; # it has too much to do
                4*) give_up "is refused: the server answers $code to $shown" ;;
            esac
            ;;
        23) give_up "has no room in this machine's memory: $got of ${size:-unknown} bytes of $shown" ;;
        33 | 36)
            : > "$file" # this server cannot go on in the middle
            got=0
            ;;
        63) give_up "is longer than it should be: more than $size bytes stand at $shown" ;;
    esac
    if [ "$got" -gt 0 ] && [ "$stuck" -ge "$STUCK" ]; then
        give_up "is cut short: $got of ${size:-unknown} bytes came from $shown ($said)"
    fi
    if [ "$attempt" -ge "$RETRIES" ]; then
        give_up "cannot be fetched from $shown: ${said:-curl ended with $status}"
    fi
    say 28 "is not here yet ($said), attempt $attempt of $RETRIES: $shown" # daemon.warning
    sleep "$SLEEP"
done

if [ -n "$size" ] && [ "$got" -lt "$size" ]; then
    give_up "is cut short: the server has $got of $size bytes of it at $shown"
fi
if [ -n "$size" ] && [ "$got" -gt "$size" ]; then
    give_up "is longer than it should be: $got bytes, not $size, came from $shown"
fi
found=$(sha256sum < "$file")
found="${found%% *}"
if [ "$found" != "$sha256" ]; then
    give_up "is another one: SHA-256 $found, not $sha256, came from $shown"
fi
say 30 "is whole: SHA-256 $found"
exec /sbin/dmsquash-live-root "$file"

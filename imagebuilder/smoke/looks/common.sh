# What looks at checks in the guest: a function for each kind (guest.py writes the calls).
#
# Status 0: it holds; 1: not yet; 2: it will not.  They set $found, which says what was found, and
# write what is worth reading to $WORK/output.  $left has the seconds that are left to the check.
# A POSIX shell, coreutils and grep are all that they can count on: what else one needs, it looks
# for, and says so if it is not there.

# matches PATTERN FILE
matches() {
    grep -E -q -e "$1" -- "$2" 2>"$WORK/complaint"
    case $? in
        0) return 0 ;;
        1) return 1 ;;
    esac
    found="grep: $(cat "$WORK/complaint")"
    return 2
}

# has_program PROGRAM PACKAGE
has_program() {
    command -v "$1" >/dev/null 2>&1 && return 0
    found="the image has no $1 to look with (package $2)"
    return 1
}

root_is_read_only() {
    options=
    while read -r _ place _ words _; do
        [ "$place" != / ] || options=$words  # the last one lies on top
    done <"$PROC/mounts"
    case $options in ro | ro,*) return 0 ;; esac
    return 1
}

# run_and_judge STATUS PATTERN HAS_OUTPUT(yes or no) OUTPUT RUN_SECONDS(may be empty) WORD...
run_and_judge() {
    wanted=$1 pattern=$2 has_output=$3 whole=$4 seconds=$left
    if [ -n "$5" ] && [ "$5" -lt "$left" ]; then seconds=$5; fi
    shift 5
    # Its own mark: the reader of an earlier command, which a daemon holds up, makes another.
    runs=$((${runs-0} + 1))
    read=$WORK/read.$runs
    rm -f "$WORK/pipe"
    mkfifo "$WORK/pipe"
    # The reader takes what is too much, so that the command is not ended by a full pipe; and
    # a daemon that the command leaves behind, with the pipe open, holds up nobody.  dd, since
    # it writes what it has read at once.
    { dd bs=4096 count="$CAPTURE_BLOCKS" of="$WORK/output" 2>/dev/null; : >"$read"
      exec cat >/dev/null; } <"$WORK/pipe" 3>&- 9>&- &
    reader=$!
    # Opening it waits for the reader.  A process of the runner's that ends meanwhile interrupts
    # that, and no shell tries again by itself: then the command was not run.
    status='' opened=0
    while [ -z "$status" ] && [ $opened -lt 20 ]; do
        opened=$((opened + 1))
        { timeout -k 2 "$seconds" "$@" </dev/null 2>&1 3>&- 9>&-; status=$?; } >"$WORK/pipe"
    done
    waited=0
    while [ ! -e "$read" ] && [ $waited -lt 30 ] && kill -0 $reader 2>/dev/null; do
        sleep 0.1 2>/dev/null || sleep 1
        waited=$((waited + 1))
    done
    case $status in
        124 | 137) found="it was not done after $seconds s" ;;
        *) found="its exit status is $status" ;;
    esac
    if [ "$status" != "$wanted" ]; then
        # Who remounts the root does so long before checks are looked at.
        matches 'Read-only file system' "$WORK/output" && root_is_read_only || return 1
        found="$found, and the root file system is read-only"
        return 2
    fi
    if [ "$has_output" = yes ]; then
        # $( ) takes newlines from the end; spaces there count for nothing either.
        said=$(cat "$WORK/output")
        while :; do
            case $said in *[[:space:]]) said=${said%?} ;; *) break ;; esac
        done
        if [ "$said" != "$whole" ]; then
            found="$found, and its output is another"
            return 1
        fi
    fi
    [ -n "$pattern" ] || return 0
    matches "$pattern" "$WORK/output" && return 0
    [ $? = 2 ] && return 2
    found="$found, and its output does not match"
    return 1
}

#!/bin/sh
# Runs inside the guest, as root, from /run: looks at the checks and tells the host.
#
# It needs a POSIX shell, coreutils, grep and systemd.  What it says goes to a virtio-serial
# port, one line per fact; texts in base64, "-" for an empty one (guest.py reads them):
#
#   hello 1 KERNEL              the new root's systemd has started
#   reached MICROSECONDS        multi-user.target is active, since when (of the kernel's clock)
#   jobs TEXT                   what the boot waits for, once half of its time is gone
#   settled STATE TEXT          the boot is over but the target was not reached; failed units
#   check N OUTCOME SECONDS FOUND OUTPUT
#   end
#
# Before this text stand PATIENCE (seconds that the boot may take), COUNT (of checks), and for
# each check N the function check_N and LIMIT_N (hundredths of a second).  SMOKE_* are for tests.

export LC_ALL=C HOME=/root
WORK=${SMOKE_WORK-/run/imagebuilder-smoke}
PROC=${SMOKE_PROC-/proc}
PAUSE=${SMOKE_PAUSE-1}
KEEP_BYTES=8192        # of a check's output, told to the host
CAPTURE_BLOCKS=4096    # of a command's output, each at most 4 KiB, kept to be matched

encode() {
    if [ -n "$1" ]; then printf '%s' "$1" | base64 | tr -d '\n'; else printf -- -; fi
}

say() {
    printf '%s\n' "$*" >&3
}

# Sets $now: hundredths of a second since the kernel started.
look_at_clock() {
    read -r now _ <"$PROC/uptime"
    now=$((${now%.*} * 100 + 1${now#*.} - 100))
}

find_port() {
    for name in /sys/class/virtio-ports/*/name; do
        [ -r "$name" ] || continue
        read -r text <"$name"
        if [ "$text" = imagebuilder.smoke ]; then
            port=${name%/name}
            port=/dev/${port##*/}
            [ -c "$port" ] && return 0
        fi
    done
    return 1
}

# ----- checks: status 0 it holds; 1 not yet; 2 it will not.  They set $found, write output -----

# check_unit UNIT STATE ENABLED(yes, no or any)
check_unit() {
    state=$(systemctl is-active -- "$1" 2>/dev/null)
    if [ "$state" != "$2" ]; then
        load=$(systemctl show --property=LoadState --value -- "$1" 2>/dev/null)
        found="it is ${state:-in no state}"
        systemctl status --no-pager --full --lines=20 -- "$1" >"$WORK/output" 2>&1
        case $load in
            not-found) found="there is no such unit"; return 2 ;;
            masked) found="it is masked"; return 2 ;;
            bad-setting | error) found="its unit file is wrong ($load)"; return 2 ;;
        esac
        # A failed unit that is to be started again is "activating"; this one stays as it is.
        [ "$state" = failed ] && return 2
        return 1
    fi
    found="it is $state"
    [ "$3" = any ] && return 0
    enabled=$(systemctl is-enabled -- "$1" 2>/dev/null)
    found="it is $state and ${enabled:-of unknown enablement}"
    case $3$enabled in
        yesenabled* | yesalias | yesgenerated | yestransient) return 0 ;;
        yes* | noenabled*) return 2 ;;
    esac
    return 0
}

# check_command COMMAND STATUS PATTERN
check_command() {
    rm -f "$WORK/pipe" "$WORK/read"
    mkfifo "$WORK/pipe"
    # The reader takes what is too much, so that the command is not ended by a full pipe; and
    # a daemon that the command leaves behind, with the pipe open, holds up nobody.  dd, since
    # it writes what it has read at once.
    { dd bs=4096 count="$CAPTURE_BLOCKS" of="$WORK/output" 2>/dev/null; : >"$WORK/read"
      exec cat >/dev/null; } <"$WORK/pipe" 3>&- &
    reader=$!
    timeout -k 2 "$left" /bin/sh -c "$1" </dev/null >"$WORK/pipe" 2>&1 3>&-
    status=$?
    waited=0
    while [ ! -e "$WORK/read" ] && [ $waited -lt 10 ] && kill -0 $reader 2>/dev/null; do
        sleep 0.1 2>/dev/null || sleep 1
        waited=$((waited + 1))
    done
    case $status in
        124 | 137) found="it was not done after $left s" ;;
        *) found="its exit status is $status" ;;
    esac
    [ "$status" = "$2" ] || return 1
    [ -n "$3" ] || return 0
    matches "$3" "$WORK/output" && return 0
    [ $? = 2 ] && return 2
    found="$found, and its output does not match"
    return 1
}

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

# check_file PATH EXISTS(yes or no) MODE OWNER PATTERN
check_file() {
    if [ ! -e "$1" ] && [ ! -L "$1" ]; then
        found="it is not there"
        [ "$2" = no ]
        return
    fi
    ls -ld -- "$1" >"$WORK/output" 2>&1
    found="it is there"
    [ "$2" = no ] && return 1
    if [ -n "$3" ]; then
        found="its mode is $(stat -L -c %a -- "$1" 2>&1)"
        [ "$found" = "its mode is $3" ] || return 1
    fi
    if [ -n "$4" ]; then
        case $4 in *:*) owner=$(stat -L -c %U:%G -- "$1") ;; *) owner=$(stat -L -c %U -- "$1") ;; esac
        found="it belongs to $owner"
        [ "$owner" = "$4" ] || return 1
    fi
    if [ -n "$5" ]; then
        found="no line of it matches"
        matches "$5" "$1" || return
        found="a line of it matches"
    fi
    return 0
}

# check_port NUMBER PROTOCOL
check_port() {
    wanted=$(printf '%04X' "$1")
    case $2 in tcp) listening=0A ;; *) listening=07 ;; esac
    seen=
    for table in "$PROC/net/$2" "$PROC/net/${2}6"; do
        [ -r "$table" ] || continue
        while read -r _ address _ state _; do
            [ "$state" = "$listening" ] || continue
            if [ "${address##*:}" = "$wanted" ]; then
                found="something listens"
                return 0
            fi
            number=$((0x${address##*:}))
            case "$seen " in *" $number "*) ;; *) seen="$seen $number" ;; esac
        done <"$table"
    done
    found="nothing listens there; $2 ports that something listens on:${seen:- none}"
    return 1
}

# check_no_failed_units UNIT... (which may have failed)
check_no_failed_units() {
    state=$(systemctl is-system-running 2>/dev/null)
    case $state in
        initializing | starting)
            found="the boot has not settled (it is $state)"
            systemctl list-jobs --no-pager >"$WORK/output" 2>&1
            return 1
            ;;
    esac
    systemctl list-units --state=failed --plain --no-legend --full --no-pager >"$WORK/failed" 2>&1
    failed=
    while read -r unit _; do
        for allowed in "$@"; do
            [ "$unit" = "$allowed" ] && continue 2
        done
        failed="$failed $unit"
        systemctl status --no-pager --full --lines=8 -- "$unit" >>"$WORK/output" 2>&1
    done <"$WORK/failed"
    found="failed:${failed:- none}"
    [ -z "$failed" ] || return 2
}

# ----- the course of it -----------------------------------------------------------------------

wait_for_target() {
    look_at_clock
    next=$((PATIENCE * 50)) idle=0 looked=$now
    while [ ! -e "$WORK/reached" ]; do
        sleep "$PAUSE"
        look_at_clock
        if [ $((now - looked)) -ge 1000 ]; then
            looked=$now
            state=$(systemctl is-system-running 2>/dev/null)
            case $state in
                running | degraded | maintenance) idle=$((idle + 1)) ;;
                *) idle=0 ;;
            esac
            if [ $idle -ge 2 ] && [ ! -e "$WORK/reached" ]; then
                say settled "$(encode "$state")" "$(encode "$(systemctl list-units --state=failed \
                    --plain --no-legend --full --no-pager 2>&1 | head -c 4096)")"
                return 1
            fi
        fi
        if [ "$now" -ge $next ]; then
            next=$((now + 1500))
            say jobs "$(encode "$(systemctl list-jobs --no-legend --no-pager --full 2>&1 |
                head -c 4096)")"
        fi
    done
    since=$(systemctl show --property=ActiveEnterTimestampMonotonic --value multi-user.target)
    say reached "${since:-0}"
}

# Tries check $1 once, and tells the host when it is over.
try() {
    eval "limit=\$LIMIT_$1 began=\${BEGAN_$1-}"
    look_at_clock
    if [ -z "$began" ]; then
        began=$now
        eval "BEGAN_$1=$now"
    fi
    left=$(((limit - now + began) / 100))
    [ $left -ge 1 ] || left=1
    found=
    : >"$WORK/output"
    "check_$1"
    result=$?
    look_at_clock
    spent=$((now - began))
    case $result in
        0) outcome=passed ;;
        1) if [ $spent -lt "$limit" ]; then pending=yes; return; fi; outcome=failed ;;
        *) outcome=failed ;;
    esac
    eval "DONE_$1=yes"
    output=$(tail -c "$KEEP_BYTES" "$WORK/output" | base64 | tr -d '\n')
    say check "$1" "$outcome" "$((spent / 100)).$((spent / 10 % 10))" "$(encode "$found")" \
        "${output:--}"
}

# Each check in its order, then those that do not hold yet again, until none is left.
try_all() {
    pending=yes
    while [ $pending = yes ]; do
        pending=no
        n=1
        while [ $n -le "$COUNT" ]; do
            eval "is_done=\${DONE_$n-no}"
            [ "$is_done" = yes ] || try $n
            n=$((n + 1))
        done
        [ $pending = no ] || sleep "$PAUSE"
    done
}

main() {
    mkdir -p "$WORK"
    if [ -n "${SMOKE_PORT-}" ]; then port=$SMOKE_PORT; else
        until find_port; do sleep "$PAUSE"; done
    fi
    exec 3>>"$port" || exit 1
    say hello 1 "$(encode "$(uname -r)")"
    wait_for_target || exit 0
    try_all
    say end
}

main

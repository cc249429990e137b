#!/bin/sh
# Runs inside the guest, as root, from /run: looks at the checks and tells the host.
#
# It needs a POSIX shell, coreutils, grep and systemd; with bash it costs the guest less.  What it says goes to a virtio-serial
# port, one line per fact; texts in base64, "-" for an empty one (guest.py reads them):
#
#   hello 1 KERNEL              the new root's systemd has started
#   reached MICROSECONDS        multi-user.target is active, since when (of the kernel's clock)
#   jobs TEXT                   what the boot waits for, once half of its time is gone
#   settled STATE TEXT          the boot is over but the target was not reached; failed units
#   alive                       the checks go on
#   check N OUTCOME SECONDS FOUND OUTPUT TRIES
#   memory SECONDS TOTAL AVAILABLE   KiB, at a time of the kernel's clock
#   chain MICROSECONDS TEXT     what systemd-analyze says, and when the new root's systemd began
#   end
#
# Before this text stand PATIENCE (seconds that the boot may take), COUNT (of checks), EXTRA (by
# how many hundredths their limits are longer than on a real machine; 0 where a machine may wait
# for others that are as slow), MEMORY (seconds from one look at the memory to the next), and for
# each check N the function check_N, LIMIT_N and INTERVAL_N (hundredths of a second, in all and
# from one look to the next), TRIES_N (how many looks, 0: any number) and NEEDS_N (the numbers of
# the checks that must have passed).  SMOKE_* are for tests.

export LC_ALL=C HOME=/root
WORK=${SMOKE_WORK-/run/imagebuilder-smoke}
PROC=${SMOKE_PROC-/proc}
SYS=${SMOKE_SYS-/sys}
MODULES=${SMOKE_MODULES-/lib/modules/$(uname -r)}
PAUSE=${SMOKE_PAUSE-1}
BEAT=${SMOKE_BEAT-10}
ASK=${SMOKE_ASK-1000}          # hundredths of a second from one question to systemd to the next
ASK_IDLE=${SMOKE_ASK_IDLE-200} # the same, while no processor has anything to do
SETTLED=${SMOKE_SETTLED-500}   # how long it must say that the boot is over
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

# Sets $now, and $idle: hundredths of a second since the last time in which no processor had
# anything to do.
look_at_idleness() {
    idle=0
    look_at_clock
    [ -r "$PROC/stat" ] || return
    before=${idle_now-} from=${idle_when-}
    if [ -n "$before" ]; then
        read -r _ _ _ _ idle_now _ <"$PROC/stat"  # of 1/100 s (proc(5), USER_HZ)
    else
        processors=0
        while read -r name _ _ _ ticks _; do
            case $name in
                cpu) idle_now=$ticks ;;
                cpu*) processors=$((processors + 1)) ;;
                *) break ;;
            esac
        done <"$PROC/stat"
    fi
    idle_when=$now
    [ -n "$before" ] || return
    idle=$((idle_now - before - (processors - 1) * (now - from)))
    [ $idle -ge 0 ] || idle=0
}

# Adds to $lent: hundredths of a second that count beside those of the clock.  Limits are longer
# where processors are emulated, since they are slow; but no clock is, so time in which no
# processor had anything to do counts as often as limits are longer.
lend() {
    [ "$EXTRA" -gt 0 ] || return
    look_at_idleness
    lent=$((lent + idle * EXTRA / 100))
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

# The functions that look at checks stand in looks/*.sh, put before this text.

# ----- the course of it -----------------------------------------------------------------------

wait_for_target() {
    look_at_idleness
    next=$((PATIENCE * 50)) looked=$now settled=
    while [ ! -e "$WORK/reached" ]; do
        last=$now
        pause "$PAUSE"
        look_at_idleness
        waited=$((now - looked))
        # systemctl costs an emulated processor much; one that is idle has time for it.
        if [ $waited -ge "$ASK" ] ||
            { [ $waited -ge "$ASK_IDLE" ] && [ $((idle * 4)) -ge $(((now - last) * 3)) ]; }; then
            looked=$now
            tell_memory
            state=$(systemctl is-system-running 2>/dev/null)
            case $state in
                running | degraded | maintenance) settled=${settled:-$now} ;;
                *) settled= ;;
            esac
            if [ $((now - ${settled:-$now})) -ge "$SETTLED" ] && [ ! -e "$WORK/reached" ]; then
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

# Sets $ready to yes if all that check $1 needs has passed, else to no; says so if one never will.
look_at_needs() {
    eval "needs=\$NEEDS_$1"
    ready=yes
    for needed in $needs; do
        eval "outcome=\${DONE_$needed-}"
        case $outcome in
            passed) ;;
            '') ready=no ;;
            *)
                ready=no
                eval "DONE_$1=skipped"
                say check "$1" skipped 0.0 "$(encode "$needed")" - 0
                return
                ;;
        esac
    done
    [ $ready = yes ] || pending=yes
}

# Tries check $1 once, and tells the host when it is over.
try() {
    look_at_needs "$1"
    [ $ready = yes ] || return
    eval "limit=\$LIMIT_$1 interval=\$INTERVAL_$1 most=\$TRIES_$1"
    eval "began=\${BEGAN_$1-} next=\${NEXT_$1-0} tried=\${TRIED_$1-0} lent_then=\${LENT_$1-}"
    look_at_clock
    if [ "$now" -lt "$next" ]; then pending=yes; return; fi
    if [ -z "$began" ]; then
        lend  # what an earlier check slept is not this one's
        began=$now lent_then=$lent
        eval "BEGAN_$1=$began LENT_$1=$lent_then"
    fi
    left=$(((limit - now + began - lent + lent_then) / 100))
    [ $left -ge 1 ] || left=1
    found='' unit_to_show=''
    # Another file, not the same one emptied: a daemon of an earlier check may still write to that.
    rm -f "$WORK/output"
    : >"$WORK/output"
    "check_$1"
    result=$?
    tried=$((tried + 1))
    eval "TRIED_$1=$tried"
    look_at_clock
    spent=$((now - began))
    case $result in
        0) outcome=passed ;;
        1)
            counted=$((spent + lent - lent_then))
            if [ $counted -lt "$limit" ] && { [ "$most" = 0 ] || [ $tried -lt "$most" ]; }; then
                eval "NEXT_$1=$((now + interval))"
                pending=yes
                return
            fi
            outcome=failed
            ;;
        *) outcome=failed ;;
    esac
    eval "DONE_$1=$outcome"
    if [ $outcome = failed ] && [ -n "$unit_to_show" ]; then
        systemctl status --no-pager --full --lines=20 -- "$unit_to_show" >"$WORK/output" 2>&1
    fi
    output=$(tail -c "$KEEP_BYTES" "$WORK/output" | base64 | tr -d '\n')
    say check "$1" "$outcome" "$((spent / 100)).$((spent / 10 % 10))" "$(encode "$found")" \
        "${output:--}" $tried
}

# Each check in its order, then those that do not hold yet again, until none is left.
try_all() {
    pending=yes lent=0
    while [ $pending = yes ]; do
        pending=no
        lend
        n=1
        while [ $n -le "$COUNT" ]; do
            eval "is_done=\${DONE_$n-}"
            [ -n "$is_done" ] || try $n
            n=$((n + 1))
        done
        [ $pending = no ] || pause "$PAUSE"
    done
}

# Says every ten seconds, as long as process $1 lives, that the guest does: a check may take long.
say_alive() {
    while sleep "$BEAT" && kill -0 "$1"; do say alive; done
}

main() {
    mkdir -p "$WORK"
    take_bell "$WORK/bell"
    if [ -n "${SMOKE_PORT-}" ]; then port=$SMOKE_PORT; else
        tries=0
        until find_port; do
            tries=$((tries + 1))
            [ $((tries % 10)) -ne 0 ] || complain_of_no_port
            pause "$PAUSE"
        done
    fi
    exec 3>>"$port" || exit 1
    watch_memory "$WORK/memory" $$ "$MEMORY" </dev/null >/dev/null 2>&1 3>&- &
    say hello 1 "$(encode "$(uname -r)")"
    wait_for_target || { tell_memory; exit 0; }
    look_at_chain </dev/null >/dev/null 2>&1 3>&- &
    chain=$!
    say_alive $$ </dev/null >/dev/null 2>&1 &
    heart=$!
    try_all
    kill $heart
    tell_memory
    tell_chain $chain
    say end
}

main

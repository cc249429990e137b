# ----- the boot itself: memory over time, and what systemd waited for --------------------------

# Lets pause wait without a process, which costs an emulated guest a tenth of a second each time:
# for a line at the FIFO $1, where the shell can do that.
take_bell() {
    bell=
    [ -n "${BASH_VERSION-}" ] || return 0
    rm -f "$1"
    mkfifo "$1" 2>/dev/null && exec 9<>"$1" && bell=$1
}

# Waits for $1 seconds, or until somebody writes a line to the bell.
pause() {
    if [ -n "${bell-}" ]; then read -r -t "$1" _ <&9 || :; else sleep "$1"; fi
}

# watch_memory FILE PID SECONDS: adds a line every so many seconds for as long as PID is there:
# seconds since the kernel started, KiB in all, KiB that programs could have.
# Builtins alone, but for the pause: it runs beside what is measured.
watch_memory() {
    take_bell "$1.bell"
    while kill -0 "$2" 2>/dev/null; do
        total=- available=-
        while read -r name value _; do
            case $name in
                MemTotal:) total=$value ;;
                MemAvailable:) available=$value; break ;;
            esac
        done <"${PROC-/proc}/meminfo"
        read -r uptime _ <"${PROC-/proc}/uptime"
        echo "$uptime $total $available" >>"$1"
        pause "$3"
    done
}

# Tells the host of the lines that it has not been told of.  Only the runner itself writes to the
# port, so that no line comes into the middle of another.
tell_memory() {
    [ -r "$WORK/memory" ] || return 0
    seen=0
    while read -r uptime total available; do
        seen=$((seen + 1))
        [ $seen -le "${told-0}" ] || say memory "$uptime" "$total" "$available"
    done <"$WORK/memory"
    told=$seen
}

# Runs beside the checks: systemd answers only when it has started all that it will.
look_at_chain() {
    for _ in 1 2 3 4 5 6 7 8 9 10 11 12; do
        systemd-analyze --no-pager critical-chain multi-user.target >"$WORK/chain.new" 2>&1 && break
        grep -q 'not yet finished' "$WORK/chain.new" || return
        sleep 2
    done
    mv "$WORK/chain.new" "$WORK/chain"
}

tell_chain() {
    for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16; do
        [ -s "$WORK/chain" ] && break
        kill -0 "$1" 2>/dev/null || return 0
        sleep 0.5 2>/dev/null || sleep 1
    done
    [ -s "$WORK/chain" ] || return 0
    start=$(systemctl show --property=UserspaceTimestampMonotonic --value)
    say chain "${start:-0}" "$(encode "$(head -c 8192 "$WORK/chain")")"
}

# Once the boot is over there is nothing more to wait for.
complain_of_no_port() {
    case $(systemctl is-system-running 2>/dev/null) in
        running | degraded | maintenance)
            echo "<3>imagebuilder: the test's runner finds no virtio-serial port" >/dev/kmsg
            ;;
    esac
}

# Looks at systemd, the kernel and the boot as a whole: see the head of looks/common.sh.

# check_unit UNIT STATE ENABLED(yes, no or any)
check_unit() {
    state=$(systemctl is-active -- "$1" 2>/dev/null)
    if [ "$state" != "$2" ]; then
        load=$(systemctl show --property=LoadState --value -- "$1" 2>/dev/null)
        found="it is ${state:-in no state}"
        unit_to_show=$1  # once it has failed: an emulated processor takes seconds to read the journal
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

# check_boot_finished TENTHS (of a second, from the start of the kernel)
check_boot_finished() {
    finished=$(systemctl show --property=FinishTimestampMonotonic --value 2>/dev/null)
    case $finished in
        '' | *[!0-9]*) found="systemd does not say when"; return 2 ;;
        0)
            look_at_clock
            found="it is not finished after $((now / 100)) s"
            systemctl list-jobs --no-pager >"$WORK/output" 2>&1
            [ $((now / 10)) -le "$1" ] || return 2
            return 1
            ;;
    esac
    tenths=$((finished / 100000))
    found="it was finished after $((tenths / 10)).$((tenths % 10)) s"
    [ "$tenths" -le "$1" ] || return 2
}

# check_memory_used MIB
check_memory_used() {
    total=0 available=
    while read -r name number _; do
        case $name in
            MemTotal:) total=$number ;;
            MemAvailable:) available=$number ;;
        esac
    done <"$PROC/meminfo"
    cat "$PROC/meminfo" >"$WORK/output"
    [ -n "$available" ] || { found="the kernel does not say what is available"; return 2; }
    used=$(((total - available) / 1024))
    found="$used MiB of $((total / 1024)) MiB are used"
    [ $used -le "$1" ]
}

# check_kernel_arg NAME PRESENT(yes or no) HAS_VALUE(yes or no) VALUE
check_kernel_arg() {
    cat "$PROC/cmdline" >"$WORK/output"
    values= is_there=no
    # The kernel's own rule: double quotes keep spaces together, around a value or the whole.
    rest=$(cat "$PROC/cmdline")
    while next_argument; do
        case $argument in
            "$1") value= ;;
            "$1="*) value=${argument#*=} ;;
            *) continue ;;
        esac
        values="$values ${value:-(nothing)}"
        [ "$3" = yes ] && [ "$value" != "$4" ] || is_there=yes
    done
    if [ -n "$values" ]; then found="it is there, saying:$values"; else found="it is not there"; fi
    # The kernel's arguments do not change: another look would find the same.
    [ "$is_there" = "$2" ] || return 2
}

# Takes one word from $rest and sets $argument, without quotes.
next_argument() {
    argument= quoted=no
    while :; do
        case $rest in " "*) rest=${rest# } ;; *) break ;; esac
    done
    [ -n "$rest" ] || return 1
    while [ -n "$rest" ]; do
        part=${rest%%[\" ]*}
        argument=$argument$part rest=${rest#"$part"}
        case $quoted$rest in
            no\ *) return 0 ;;
            yes\ *) argument="$argument " rest=${rest# } ;;
            no\"*) quoted=yes rest=${rest#\"} ;;
            yes\"*) quoted=no rest=${rest#\"} ;;
        esac
    done
}

# check_module NAME FILE(a pattern for its file's name) LOADED(yes or no) [PARAMETER VALUE]...
check_module() {
    module=$1 wanted=$3
    if grep -q -e "^$module " -- "$PROC/modules"; then
        found="it is loaded"
    elif grep -q -E -e "/$2[.]ko" -- "$MODULES/modules.builtin" 2>/dev/null; then
        found="it is built into the kernel"
    else
        found="it is not loaded"
        [ "$wanted" = no ]
        return
    fi
    [ "$wanted" = yes ] || return 1
    shift 3
    while [ $# -gt 0 ]; do
        file=$SYS/module/$module/parameters/$1
        [ -r "$file" ] || { found="$found, and has no parameter $1 that can be read"; return 2; }
        value=$(cat "$file")
        found="$found, with $1=$value"
        [ "$value" = "$2" ] || return 1
        shift 2
    done
}

# check_sysctl NAME VALUE HAS_VALUE(yes or no) AT_LEAST AT_MOST (either may be empty)
check_sysctl() {
    case $1 in
        */*) file=$PROC/sys/$1 ;;
        *) file=$PROC/sys/$(printf %s "$1" | tr . /) ;;
    esac
    [ -f "$file" ] || { found="there is no such sysctl"; return 1; }
    value=$(tr -s '[:space:]' ' ' <"$file" 2>"$WORK/output") || { found="it cannot be read"; return 2; }
    value=${value% } value=${value# }
    found="it is '$value'"
    if [ "$3" = yes ] && [ "$value" != "$2" ]; then return 1; fi
    [ -n "$4$5" ] || return 0
    case ${value#-} in '' | *[!0-9]*) found="$found, which is no number"; return 2 ;; esac
    if [ -n "$4" ] && ! [ "$value" -ge "$4" ]; then return 1; fi
    if [ -n "$5" ] && ! [ "$value" -le "$5" ]; then return 1; fi
    return 0
}

# Looks at what runs and what is installed: see the head of looks/common.sh.

# check_command COMMAND STATUS PATTERN HAS_OUTPUT OUTPUT RUN_SECONDS
check_command() {
    run_and_judge "$2" "$3" "$4" "$5" "$6" /bin/sh -c "$1"
}

# check_script FILE STATUS PATTERN HAS_OUTPUT OUTPUT RUN_SECONDS ARGUMENT...
check_script() {
    file=$WORK/scripts/$1 status=$2 pattern=$3 has=$4 whole=$5 seconds=$6
    shift 6
    if [ ! -e "$file" ]; then
        found="it did not come into the guest"
        return 2
    fi
    # Where /run forbids to run programs, a shell can still read them.
    if [ -x "$file" ]; then
        run_and_judge "$status" "$pattern" "$has" "$whole" "$seconds" "$file" "$@"
    else
        run_and_judge "$status" "$pattern" "$has" "$whole" "$seconds" /bin/sh "$file" "$@"
    fi
}

# check_package NAME INSTALLED(yes or no) COMPARISON VERSION (both may be empty)
check_package() {
    have=
    if command -v dpkg-query >/dev/null 2>&1; then
        # Of several architectures each has a line.
        dpkg-query -W -f '${db:Status-Status} ${Version}\n' -- "$1" >"$WORK/packages" 2>&1
        while read -r state version; do
            [ "$state" = installed ] && have=$version
        done <"$WORK/packages"
    elif command -v rpm >/dev/null 2>&1; then
        # Of a kernel there may be several versions: the last.
        if rpm -q --qf '%{EPOCHNUM}:%{VERSION}-%{RELEASE}\n' -- "$1" >"$WORK/packages" 2>&1; then
            have=$(tail -n 1 "$WORK/packages")
        fi
    else
        found="the image has neither dpkg nor rpm to look with"
        return 2
    fi
    if [ -z "$have" ]; then
        found="it is not installed"
        [ "$2" = no ]
        return
    fi
    found="it is installed, version $have"
    [ "$2" = yes ] || return 1
    [ -n "$3" ] || return 0
    compared=$have
    case $4 in *:*) ;; *) compared=${compared#*:} ;; esac
    case $4 in *-*) ;; *) compared=${compared%-*} ;; esac
    version_is "$compared" "$3" "$4"
    result=$?
    [ $result = 2 ] || return $result
    found="$found; it cannot be compared with $4"
    return 2
}

# version_is HAVE COMPARISON WANTED: status 0 it is, 1 it is not, 2 nobody can tell
version_is() {
    if command -v dpkg >/dev/null 2>&1; then
        case $2 in
            '<') word=lt ;; '<=') word=le ;; '=') word=eq ;;
            '!=') word=ne ;; '>=') word=ge ;; *) word=gt ;;
        esac
        dpkg --compare-versions "$1" $word "$3" 2>>"$WORK/output"
        return
    fi
    # The words are versions: no sign in them means anything to Lua or to macros.
    side=$(rpm --eval "%{lua: print(rpm.vercmp('$1', '$3'))}" 2>>"$WORK/output")
    case $side in -1 | 0 | 1) ;; *) return 2 ;; esac
    case $2$side in
        '<-1' | '<=-1' | '<=0' | =0 | '!=-1' | '!=1' | '>=0' | '>=1' | '>1') return 0 ;;
    esac
    return 1
}

# check_user NAME EXISTS(yes or no) UID SHELL HOME PASSWORD(locked, set or any) GROUP...
# UID, SHELL and HOME may be empty.
check_user() {
    user=$1 exists=$2 uid=$3 shell=$4 home=$5 password=$6
    shift 6
    if ! line=$(entry_of passwd "$user"); then
        found="there is no such user"
        [ "$exists" = no ]
        return
    fi
    printf '%s\n' "$line" >"$WORK/output"
    found="there is such a user"
    [ "$exists" = yes ] || return 1
    rest=${line#*:*:}
    value=${rest%%:*}
    found="its uid is $value"
    [ -z "$uid" ] || [ "$uid" = "$value" ] || return 1
    value=${line##*:}
    found="its shell is ${value:-/bin/sh}"
    [ -z "$shell" ] || [ "$shell" = "${value:-/bin/sh}" ] || return 1
    value=${line%:*} value=${value##*:}
    found="its home is $value"
    [ -z "$home" ] || [ "$home" = "$value" ] || return 1
    if [ $# -gt 0 ]; then
        groups=$(id -n -G -- "$user" 2>>"$WORK/output")
        found="its groups are: $groups"
        for group in "$@"; do
            case " $groups " in *" $group "*) ;; *) return 1 ;; esac
        done
    fi
    if [ "$password" != any ]; then
        if ! line=$(entry_of shadow "$user"); then
            found="it has no line in /etc/shadow"
            return 2
        fi
        value=${line#*:} value=${value%%:*}
        # What begins so is no result of crypt(3): no password gives it (shadow(5)).
        case $value in
            '') value=none found="it has no password, and is let in without one" ;;
            '!'* | '*'*) value=locked found="its password is locked" ;;
            *) value=set found="it has a password" ;;
        esac
        [ "$value" = "$password" ] || return 1
    fi
    return 0
}

# entry_of DATABASE KEY: its line, wherever it comes from (nsswitch.conf)
entry_of() {
    if command -v getent >/dev/null 2>&1; then
        getent "$1" "$2" 2>/dev/null
    else
        while IFS= read -r entry; do
            case $entry in "$2:"*) printf '%s\n' "$entry"; return 0 ;; esac
        done <"/etc/$1"
        return 1
    fi
}

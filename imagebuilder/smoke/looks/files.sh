# Looks at files and mounts: see the head of looks/common.sh.

# check_file PATH EXISTS(yes or no) TYPE TARGET MODE OWNER SIZE PATTERN SHA256 (may be empty)
check_file() {
    if [ ! -e "$1" ] && [ ! -L "$1" ]; then
        found="it is not there"
        [ "$2" = no ]
        return
    fi
    ls -ld -- "$1" >"$WORK/output" 2>&1
    found="it is there"
    [ "$2" = no ] && return 1
    # The link itself, or what it leads to.
    if [ "$3" = link ]; then follow=; else follow=-L; fi
    if [ -n "$3" ]; then
        type=$(type_of "$1" $follow)
        found="it is a $type"
        [ "$type" = "$3" ] || return 1
    fi
    if [ -n "$4" ]; then
        found="it leads to $(readlink -- "$1")"
        [ "$found" = "it leads to $4" ] || return 1
    fi
    if [ -n "$5" ]; then
        found="its mode is $(stat $follow -c %a -- "$1" 2>&1)"
        [ "$found" = "its mode is $5" ] || return 1
    fi
    if [ -n "$6" ]; then
        case $6 in *:*) format=%U:%G ;; *) format=%U ;; esac
        owner=$(stat $follow -c $format -- "$1" 2>&1)
        found="it belongs to $owner"
        [ "$owner" = "$6" ] || return 1
    fi
    if [ -n "$7" ]; then
        found="it has $(stat $follow -c %s -- "$1" 2>&1) bytes"
        [ "$found" = "it has $7 bytes" ] || return 1
    fi
    if [ -n "$8" ]; then
        found="no line of it matches"
        matches "$8" "$1" || return
        found="a line of it matches"
    fi
    if [ -n "$9" ]; then
        digest=$(sha256sum <"$1" 2>>"$WORK/output")
        digest=${digest%% *}
        found="its bytes are as wanted"
        if [ "$digest" != "$9" ]; then
            found="its bytes are others: SHA-256 ${digest:-unknown}"
            head -c 2048 -- "$1" >>"$WORK/output" 2>&1
            return 1
        fi
    fi
    return 0
}

# type_of PATH [-L]
type_of() {
    if [ -L "$1" ] && [ -z "$2" ]; then echo link
    elif [ -f "$1" ]; then echo file
    elif [ -d "$1" ]; then echo directory
    elif [ -S "$1" ]; then echo socket
    elif [ -p "$1" ]; then echo fifo
    elif [ -b "$1" ]; then echo block
    elif [ -c "$1" ]; then echo character
    else echo "link that leads nowhere"; fi
}

# check_mount PATH MOUNTED(yes or no) TYPE SOURCE OPTION... (PATH and SOURCE as in /proc/mounts)
check_mount() {
    path=$1 mounted=$2 type=$3 source=$4
    shift 4
    seen=
    while read -r from where kind options _; do
        if [ "$where" = "$path" ]; then seen="$from $kind $options"; fi
    done <"$PROC/mounts"
    if [ -z "$seen" ]; then
        found="nothing is mounted there"
        [ "$mounted" = no ]
        return
    fi
    printf '%s\n' "$seen" >"$WORK/output"
    from=${seen%% *} options=${seen##* } kind=${seen#* } kind=${kind%% *}
    found="$from is mounted there, type $kind, options $options"
    [ "$mounted" = yes ] || return 1
    [ -z "$type" ] || [ "$type" = "$kind" ] || return 1
    [ -z "$source" ] || [ "$source" = "$from" ] || return 1
    for option in "$@"; do
        case ",$options," in *",$option,"*) ;; *) return 1 ;; esac
    done
    return 0
}

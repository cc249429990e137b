# Looks at ports, interfaces and bridges: see the head of looks/common.sh.

# check_port NUMBER PROTOCOL LISTENING(yes or no) ADDRESS(as in /proc/net, may be empty) ONLY
check_port() {
    number=$(printf '%04X' "$1")
    case $2 in tcp) listening=0A ;; *) listening=07 ;; esac
    seen= here=no others=
    for table in "$PROC/net/$2" "$PROC/net/${2}6"; do
        [ -r "$table" ] || continue
        while read -r _ address _ state _; do
            [ "$state" = "$listening" ] || continue
            if [ "${address##*:}" = "$number" ]; then
                case $4 in
                    '' | "${address%:*}") here=yes ;;
                    *) others="$others $(shown_address "${address%:*}")" ;;
                esac
            fi
            port=$((0x${address##*:}))
            case "$seen " in *" $port "*) ;; *) seen="$seen $port" ;; esac
        done <"$table"
    done
    if [ $here = no ]; then
        found="nothing listens there; $2 ports that something listens on:${seen:- none}"
        [ -z "$others" ] || found="nothing listens at that address, but at:$others"
        [ "$3" = no ]
        return
    fi
    found="something listens"
    [ "$3" = yes ] || return 1
    [ "$5" = yes ] && [ -n "$others" ] || return 0
    found="something listens at other addresses, too:$others"
    return 1
}

# shown_address HEX: as people write it (32-bit words, each with its last byte first)
shown_address() {
    rest=$1 words=
    while [ -n "$rest" ]; do
        word=${rest%"${rest#????????}"} rest=${rest#????????}
        a=${word%??????} b=${word#??} b=${b%????} c=${word#????} c=${c%??} d=${word#??????}
        case $1 in
            ????????) printf '%d.%d.%d.%d' $((0x$d)) $((0x$c)) $((0x$b)) $((0x$a)); return ;;
        esac
        words="$words:$d$c:$b$a"
    done
    printf '%s' "${words#:}"
}

# check_interface PATTERN EXISTS STATE MTU DHCP MASTER VLAN MAC ADDRESS...
# EXISTS and DHCP: yes or no; STATE: up, down or any; the others may be empty.
check_interface() {
    wish=$1 exists=$2
    shift 2
    there= verdict=1 text=
    for folder in "$SYS/class/net"/*; do
        name=${folder##*/}
        there="$there $name"
        # shellcheck disable=SC2254 # it is a pattern
        case $name in $wish) ;; *) continue ;; esac
        if [ "$exists" = no ]; then
            found="there is $name"
            return 1
        fi
        interface_is "$name" "$@"
        result=$?
        if [ $result = 0 ]; then return 0; fi
        text="$text${text:+; }$found" verdict=$result
    done
    found=${text:-there is no such interface; there are:$there}
    [ "$exists" = yes ] || return 0
    return $verdict
}

# interface_is NAME STATE MTU DHCP MASTER VLAN MAC ADDRESS...
interface_is() {
    folder=$SYS/class/net/$1 name=$1 state=$2 mtu=$3 dhcp=$4 master=$5 vlan=$6 mac=$7
    shift 7
    flags=$(cat "$folder/flags") carrier=$(cat "$folder/operstate")
    # IFF_UP is bit 0.  "unknown" is what drivers say that know no carrier: lo, tap, Open vSwitch.
    case $((flags & 1))$carrier in
        1up | 1unknown) seen=up ;;
        1*) seen="turned on, but its carrier is $carrier" ;;
        *) seen=down ;;
    esac
    found="$name is $seen"
    case $state$seen in
        any* | upup) ;;
        up*) return 1 ;;
        downup) return 1 ;;
    esac
    value=$(cat "$folder/mtu")
    found="$name has mtu $value"
    [ -z "$mtu" ] || [ "$mtu" = "$value" ] || return 1
    if [ -n "$master" ]; then
        value=$(readlink "$folder/master" 2>/dev/null)
        found="$name has the master ${value##*/}"
        [ -n "$value" ] || found="$name has no master"
        [ "${value##*/}" = "$master" ] || return 1
    fi
    if [ -n "$vlan" ]; then
        found="$name is the interface of no VLAN"
        [ -r "$PROC/net/vlan/$name" ] || return 1
        read -r _ _ value _ <"$PROC/net/vlan/$name"
        found="$name is the interface of VLAN $value"
        [ "$value" = "$vlan" ] || return 1
    fi
    if [ -n "$mac" ]; then
        value=$(cat "$folder/address")
        found="$name has the address $value"
        [ "$value" = "$mac" ] || return 1
    fi
    if [ "$dhcp" = yes ] || [ $# -gt 0 ]; then
        has_program ip iproute2 || return 2
        ip -oneline address show dev "$name" >"$WORK/addresses" 2>&1
        cat "$WORK/addresses" >>"$WORK/output"
        have= leased=no
        while read -r _ _ family address rest; do
            case $family in inet | inet6) have="$have $address" ;; *) continue ;; esac
            # Such an address ends; one that was given for good does not.
            case "$family $rest " in "inet "*" dynamic "*) leased=yes ;; esac
        done <"$WORK/addresses"
        found="$name has the addresses:${have:- none}"
        for address in "$@"; do
            case $address in
                */*) case "$have " in *" $address "*) ;; *) return 1 ;; esac ;;
                *) case "$have" in *" $address/"*) ;; *) return 1 ;; esac ;;
            esac
        done
        if [ "$dhcp" = yes ] && [ $leased = no ]; then
            found="$found; none is from DHCP"
            return 1
        fi
    fi
    return 0
}

# check_ovs_bridge NAME EXISTS(yes or no) [port|tag|trunks PORT VALUE]...
# VALUE: of a tag its number; of trunks their numbers, with ", " between them.
check_ovs_bridge() {
    bridge=$1 exists=$2
    shift 2
    has_program ovs-vsctl openvswitch-switch || return 2
    # -t: it waits for the daemon for ever else.
    ovs-vsctl -t "$left" br-exists "$bridge" >"$WORK/output" 2>&1
    case $? in
        0) ;;
        2)
            found="there is no such bridge; there are: $(ovs-vsctl -t "$left" list-br | tr '\n' ' ')"
            [ "$exists" = no ]
            return
            ;;
        *) found="Open vSwitch does not answer"; return 1 ;;
    esac
    found="there is such a bridge"
    [ "$exists" = yes ] || return 1
    ports=$(ovs-vsctl -t "$left" list-ports "$bridge" 2>>"$WORK/output" | tr '\n' ' ')
    found="it has the ports: ${ports:-none}"
    while [ $# -gt 0 ]; do
        case " $ports" in *" $2 "*) ;; *) return 1 ;; esac
        if [ "$1" != port ]; then
            case $1 in tag) column=tag ;; *) column=trunks ;; esac
            value=$(ovs-vsctl -t "$left" get port "$2" $column 2>>"$WORK/output")
            value=${value#\[} value=${value%\]}
            found="port $2 has $column: ${value:-none}"
            [ "$value" = "$3" ] || return 1
        fi
        shift 3
    done
    return 0
}

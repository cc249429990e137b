#!/bin/bash
# A module of dracut(8): the root file system is booted only if it is the one that was named.

check() {
    return 255 # only when it is asked for
}

depends() {
    echo livenet
}

install() {
    inst_multiple sha256sum wc
    # After livenet's own, which stands at 29, and which it takes the fetching from.
    # shellcheck disable=SC2154 # dracut sets it
    inst_hook cmdline 31 "$moddir/take-over.sh"
    inst_script "$moddir/fetch.sh" /sbin/imagebuilderroot
}

# For scripts of sh, dash or bash: an event when the script ends with another code than 0.
#
#   . /usr/share/doc/postrider/examples/shell/on-failure.sh
#   postrider_on_failure nightly.failed
#
# The script's own exit code stays as it is. A script that has an EXIT trap of its own calls
# `postrider_report TYPE $?` in it instead.

postrider_on_failure() {
    # The type is put into the trap now: a function has no words of its own there.
    trap "postrider_report '$1' \$?" EXIT
}

postrider_report() {
    postrider_code=$2
    if [ "$postrider_code" -ne 0 ]; then
        postrider --quiet emit "$1" script="$0" exit_code:="$postrider_code" host="$(uname -n)" || true
    fi
    return "$postrider_code"
}

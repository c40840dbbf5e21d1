#!/usr/bin/env bash
# The long forms of the tests of faults, one after the other, and one table of their figures (docs/faults.md explains it).
#
#   tests/long.sh             all of them, about an hour
#   tests/long.sh kill power  those whose name contains one of these words
#
# It takes root (loop devices, network namespaces), and: strace perl e2fsprogs xfsprogs libfaketime nftables iproute2.
# The daemon is the release build.
set -uo pipefail
cd "$(dirname "$0")/.."
for program in strace perl mkfs.ext4 mkfs.xfs nft ip unshare nsenter; do
  command -v "$program" >/dev/null || { echo "tests/long.sh needs $program" >&2; exit 69; }
done

cargo build --release --bin postrider || exit
target=${CARGO_TARGET_DIR:-target}
# A copy: whoever builds meanwhile does not change what is tested.
daemon=$(mktemp -d)/postrider
cp "$target/release/postrider" "$daemon" || exit
export POSTRIDER_DAEMON=$daemon POSTRIDER_FAULTS=all RUST_BACKTRACE=0
cargo test --test it --no-run || exit
figures=$(mktemp); failed=0

# ROW, NAME, VARIABLES (or -), FILTERS …
long() {
  local row=$1 name=$2 variables=$3 words=${only[*]:-} said; shift 3
  local wanted=$([[ -z $words ]] && echo yes)
  for word in $words; do [[ $name == *"$word"* ]] && wanted=yes; done
  [[ $wanted == yes ]] || return 0
  [[ $variables == - ]] && variables=
  printf '\n=== row %s: %s (%s)\n' "$row" "$name" "$(date +%T)"
  said=$(mktemp)
  # shellcheck disable=SC2086
  if ! env $variables cargo test --test it -- --nocapture --test-threads=1 "$@" 2>&1 | tee "$said"; then
    failed=1
    printf '%s\t%s\tFAILED\n' "$row" "$name" >>"$figures"
  fi
  # What a test prints of itself stands behind its name, or on a line of its own.
  sed -nE 's/^test [a-z0-9_:]+ \.\.\. //; /^(ok|FAILED|running|test |failures|error|warning|note|POSTRIDER_SEED| |$)/d; /[0-9]/p' "$said" |
    grep -vE '^(Finished|Running|Compiling|thread)' | sed "s/^/$row\t$name\t/" >>"$figures"
  rm -f "$said"
}

only=("$@")
long 1 kill POSTRIDER_KILLS=1000 kill::kill_9_loses
long 2 instants POSTRIDER_INSTANTS=all kill::instants
long 3 power "POSTRIDER_POWER_CUTS=200 POSTRIDER_POWER_CUTS_XFS=50" faults::power
long 4 crash-states POSTRIDER_CRASH_STATES=5000 faults::crash_states::every
long 6 fsync "POSTRIDER_FSYNC_FAILURES=50 POSTRIDER_SLOW_ACKS=200" storage
long 8 flips POSTRIDER_FLIPS=200 journal::damage
long 9 few-files - few_files
long 10 backlog POSTRIDER_BACKLOG=100000 faults::floods::a_long_backlog
long 11 clock - faults::clock
long 12 freezes POSTRIDER_FREEZES=20 kill::freezes
long 13 names POSTRIDER_DEAD_NAMES=500 faults::names
long 14 network POSTRIDER_NETWORK_ROUNDS=50 faults::network
long 15 evil POSTRIDER_EVIL_ROUNDS=20 evil_receivers
long 18 statuses - statuses
long 20 edits POSTRIDER_EDITS=1000 faults::edits::random
long 20 files POSTRIDER_FILES=10000 faults::edits::thousands
long 21 bombs POSTRIDER_ALL_BOMBS=1 bombs
long 22 flood POSTRIDER_FLOOD_SECONDS=60 faults::floods::every
long 24 slow-senders - slow_senders
long 25 stops POSTRIDER_STOPS=50 kill::sigterm
long 27 sequences POSTRIDER_SEQUENCES=10000 faults::sequences
long 27 simulation POSTRIDER_SIMULATIONS=300 simulation
long - isolation POSTRIDER_ISOLATION_ROUNDS=9 faults::isolation

printf '\nrow\twhat\tfigures\n'
cat "$figures"
rm -rf "$figures" "$(dirname "$daemon")"
exit $failed

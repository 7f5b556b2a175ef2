#!/usr/bin/env bash
# Runs a command that may use a headless Chromium, such as the tests of the page:
#
#     scripts/with_chromium.sh make test
#
# The command finds the browser in BAYESOPT_TEST_CHROMIUM, and BAYESOPT_REQUIRE_CHROMIUM=1 makes a test that needs it
# fail where it would have been skipped. A browser named in that variable beforehand is used as it is. With --install
# (for machines that may be changed, such as CI's) Chromium is installed by apt-get when it is missing.
set -euo pipefail

fail() { printf 'with_chromium: %s\n' "$*" >&2; exit 1; }

install=no
if [ "${1:-}" = --install ]; then install=yes; shift; fi
[ $# -gt 0 ] || fail "give the command to run, for example: scripts/with_chromium.sh make test"
export BAYESOPT_REQUIRE_CHROMIUM=1
if [ -n "${BAYESOPT_TEST_CHROMIUM:-}" ]; then exec "$@"; fi

browser() { command -v chromium || command -v chromium-browser || command -v google-chrome-stable || command -v google-chrome || true; }

found=$(browser)
if [ -z "$found" ] && [ "$install" = yes ]; then
    command -v apt-get >/dev/null || fail "no Chromium and no apt-get: install Chromium and run this again"
    echo "with_chromium: installing Chromium"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update
    apt-get install -y --no-install-recommends chromium fonts-dejavu-core
    found=$(browser)
fi
[ -n "$found" ] || fail "no Chromium found: install it (Debian: apt-get install chromium), or set
BAYESOPT_TEST_CHROMIUM=/path/to/chromium"

echo "with_chromium: $("$found" --version 2>/dev/null)"
export BAYESOPT_TEST_CHROMIUM="$found"
exec "$@"

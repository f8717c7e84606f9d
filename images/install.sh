#!/bin/sh
# The steps of the Containerfiles' builders.  tools: uv.  wheel: the project with its front end, to /dist.
# dependencies EXTRA…: the locked versions, to /opt/modelyard.  project: the wheel, to the same place.  trim: away with
# what a server that nobody works in never reads.
#
# Secrets, both optional, never in a layer: `build-environment` holds shell assignments (the indexes of packages, a
# proxy), `build-ca` certificates to trust.
set -eu
UV_VERSION=0.13.9

if [ -f /run/secrets/build-environment ]; then
    set -a
    . /run/secrets/build-environment
    set +a
fi
if [ -f /run/secrets/build-ca ]; then
    export SSL_CERT_FILE=/run/secrets/build-ca PIP_CERT=/run/secrets/build-ca NODE_EXTRA_CA_CERTS=/run/secrets/build-ca
fi
export UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1 UV_PYTHON_DOWNLOADS=never UV_NO_PROGRESS=1
export PATH="/opt/uv/bin:$PATH"

step=$1
shift
case $step in
tools)
    python3 -m venv /opt/uv
    /opt/uv/bin/pip install --quiet --disable-pip-version-check "uv==$UV_VERSION"
    ;;
wheel)
    uv build --quiet --wheel --out-dir /dist
    ;;
dependencies)
    extras=
    for extra in "$@"; do
        extras="$extras --extra $extra"
    done
    uv venv --quiet --python "$(command -v python3)" /opt/modelyard
    # shellcheck disable=SC2086
    uv export --quiet --locked --no-dev --no-emit-project $extras --output-file /tmp/requirements.txt >/dev/null
    uv pip install --quiet --python /opt/modelyard --require-hashes --requirement /tmp/requirements.txt
    # LightGBM wants the system's OpenMP, which slim images lack; scikit-learn's wheel brings one.
    packages=$(echo /opt/modelyard/lib/python3*/site-packages)
    if [ -d "$packages/lightgbm" ]; then
        mkdir -p /opt/modelyard/lib/openmp
        ln -s "$(find "$packages/scikit_learn.libs" -name 'libgomp-*' | head -n 1)" /opt/modelyard/lib/openmp/libgomp.so.1
    fi
    # Tests of the big libraries: a tenth of the image, and nothing imports them.
    for library in numpy scipy pandas sklearn pyarrow; do
        find /opt/modelyard/lib/python3*/site-packages/$library -type d -name tests -prune -exec rm -rf {} + 2>/dev/null || true
    done
    ;;
project)
    uv pip install --quiet --python /opt/modelyard --no-deps /dist/*.whl
    ;;
trim)
    packages=$(echo /opt/modelyard/lib/python3*/site-packages)
    find "$packages" -type d -name tests -prune -exec rm -rf {} +
    find "$packages" -type f \( -name '*.pyi' -o -name '*.pyx' -o -name '*.pxd' -o -name '*.h' -o -name '*.hpp' \
        -o -name '*.c' -o -name '*.cpp' \) -delete
    # ONNX Runtime for C programs: Python's module holds it all itself. And what prepares models elsewhere.
    rm -f "$packages"/onnxruntime/capi/libonnxruntime.so*
    for part in transformers quantization tools datasets; do
        rm -rf "${packages:?}/onnxruntime/$part"
    done
    ;;
*)
    echo "install.sh: $step is no step" >&2
    exit 2
    ;;
esac

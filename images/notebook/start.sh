#!/bin/sh
# The example notebooks for whoever has none yet, then what the container is to run. The home folder is a volume, which
# hides what the image has at its place; and what somebody removed from theirs does not come back.
#
# `jupyterhub-singleuser` is the same server with its port open from the first moment on (modelyard.singleuser).
set -eu
if [ -w "$HOME" ] && [ ! -e "$HOME/notebooks" ]; then
    cp -r /usr/share/modelyard/notebooks "$HOME/notebooks" || echo "the example notebooks could not be copied" >&2
fi
if [ "${1:-}" = jupyterhub-singleuser ]; then
    shift
    set -- python -m modelyard.singleuser "$@"
fi
exec "$@"

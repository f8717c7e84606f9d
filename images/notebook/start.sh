#!/bin/sh
# The example notebooks for whoever has none yet, then what the container is to run. The home folder is a volume, which
# hides what the image has at its place; and what somebody removed from theirs does not come back.
set -eu
if [ -w "$HOME" ] && [ ! -e "$HOME/notebooks" ]; then
    cp -r /usr/share/modelyard/notebooks "$HOME/notebooks" || echo "the example notebooks could not be copied" >&2
fi
exec "$@"

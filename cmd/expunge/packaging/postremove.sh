#!/bin/sh
# Store, key, reports, config and secrets stay: they are the company's evidence.
set -e
if [ -d /run/systemd/system ] && [ -z "${DPKG_ROOT:-}" ]; then
  systemctl daemon-reload
fi

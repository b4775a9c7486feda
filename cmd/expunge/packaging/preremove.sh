#!/bin/sh
# Stops the timer when the package goes for good; an upgrade leaves it as it is. dpkg says
# "upgrade" then, rpm 1.
set -e
case "${1:-}" in
  upgrade | 1) exit 0 ;;
esac
if [ -d /run/systemd/system ] && [ -z "${DPKG_ROOT:-}" ]; then
  systemctl disable --now expunge.timer || true
fi

#!/bin/sh
# Stands in for systemctl: remembers beside the link that it is called by which units are on and which run, and what it was told.
house=$(dirname "$0")/on
mkdir -p "$house"
printf '%s\n' "$*" >>"$house/told"
for it; do
  [ -e "$house/refuses $it" ] && exit 1
  [ -e "$house/hangs $it" ] && exec sleep 60
done
[ "$1" = --no-block ] && shift
word=$1
[ "$2" = --now ] && { word="$1 now"; shift; }
case $word in
  show)
    [ -e "$house/runs $3" ] && echo ActiveState=active || echo ActiveState=inactive
    [ -e "$house/$3" ] && echo UnitFileState=enabled || echo UnitFileState=disabled
    ;;
  enable) : >"$house/$2" ;;
  disable) rm -f "$house/$2" ;;
  'disable now') rm -f "$house/$2" "$house/runs $2" ;;
  start | restart) : >"$house/runs $2" ;;
  *) exit 1 ;;
esac

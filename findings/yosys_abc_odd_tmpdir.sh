#!/usr/bin/env bash
# pyosys 0.70 (Yosys): mapping with ABC fails where the folder of temporary files has a space in its name.
#
# The `abc` pass writes a script for ABC with the paths of its temporary files in it, unquoted; ABC divides them at the
# space. A design that maps in /tmp does not map below "/tmp/my files", with nothing wrong in it.
#
# Output seen:  plain folder: mapped
#               folder with a space: failed
# Ends with 0 while that is so, with 1 when it has changed.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet pyosys==0.70
printf 'module top(input a, input b, output y);\n  assign y = a & b;\nendmodule\n' > "$work/top.v"
try() { # try TMPDIR
  mkdir -p "$1"
  (cd "$work" && TMPDIR=$1 "$work/venv/bin/python" -c "
from pyosys import libyosys as ys
design = ys.Design()
ys.run_pass('read_verilog top.v', design)
ys.run_pass('synth -top top', design)
ys.run_pass('abc -g AND', design)
") > "$work/log" 2>&1 && echo mapped || echo failed
}
{ echo "plain folder: $(try "$work/plain")"; echo "folder with a space: $(try "$work/my files")"; } | tee "$work/seen"
printf '%s\n' "plain folder: mapped" "folder with a space: failed" | cmp -s - "$work/seen"

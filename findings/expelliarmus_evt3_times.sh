#!/usr/bin/env bash
# expelliarmus 1.1.12 on numpy 2.4.6: events of an EVT 3.0 file come 4096 us late once TIME_HIGH has changed.
#
# A time of EVT 3.0 is TIME_HIGH * 4096 + TIME_LOW, each sent when it changes (Prophesee's definition of the format). The
# reader also takes a TIME_LOW that is lower than the one before for a step of TIME_HIGH, which the file has told already.
# The file here is written word by word: three events of one pixel, at 5, 4095 and 4096 us.
#
# Output seen:  written 5 4095 4096, read 5 4095 8192
# Ends with 0 while that is so, with 1 when it has changed.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet expelliarmus==1.1.12 numpy==2.4.6
"$work/venv/bin/python" - "$work/times.raw" <<'PYTHON' | tee "$work/seen"
import struct
import sys

HIGH, LOW, Y, X = 0x8000, 0x6000, 0x0000, 0x2000
words = [HIGH | 0, LOW | 5, Y | 1, X | 1, LOW | 4095, Y | 1, X | 1, HIGH | 1, LOW | 0, Y | 1, X | 1]
with open(sys.argv[1], "wb") as file:
    file.write(b"% evt 3.0\n% geometry 1280x720\n% end\n" + struct.pack(f"<{len(words)}H", *words))

from expelliarmus import Wizard

print("written 5 4095 4096, read", *Wizard(encoding="evt3").read(sys.argv[1])["t"])
PYTHON
grep -qx "written 5 4095 4096, read 5 4095 8192" "$work/seen"

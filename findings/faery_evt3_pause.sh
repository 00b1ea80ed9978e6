#!/usr/bin/env bash
# faery 0.7.1 on numpy 2.4.6: a pause in an EVT 3.0 file in which TIME_HIGH wraps is lost, and the times behind it with it.
#
# TIME_HIGH has 12 bits and wraps after 16.8 s. The reader sees the wrap only where 4095 stood right before; where no word came
# in that time (a file that was cut or filtered), a decrease from 3996 to 5 is the only sign of it, and the reader goes on
# with the time it had. The file here is written word by word: two events, at 3996 * 4096 us, and behind the wrap, at (4096 + 5) * 4096 + 3 us.
#
# Output seen:  written 16367616 16797699, read 16367616 16367619
# Ends with 0 while that is so, with 1 when it has changed.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet faery==0.7.1 numpy==2.4.6
"$work/venv/bin/python" - "$work/pause.raw" <<'PYTHON' | tee "$work/seen"
import struct
import sys

HIGH, LOW, Y, X = 0x8000, 0x6000, 0x0000, 0x2000
words = [HIGH | 3996, LOW | 0, Y | 1, X | 1, HIGH | 5, LOW | 3, Y | 1, X | 1]
with open(sys.argv[1], "wb") as file:
    file.write(b"% evt 3.0\n% geometry 1280x720\n% end\n" + struct.pack(f"<{len(words)}H", *words))

import faery

times = [int(t) for packet in faery.events_stream_from_file(sys.argv[1]) for t in packet["t"]]
print("written 16367616 16797699, read", *times)
PYTHON
grep -qx "written 16367616 16797699, read 16367616 16367619" "$work/seen"

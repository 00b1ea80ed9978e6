#!/usr/bin/env bash
# numba 0.68.1: functions compiled for different record types have one name, where two processes compile them.
#
# The name of compiled code is made from the types of its arguments, and a record type enters it as a number that counts the
# types of the process (`Record.mangling_args` gives `_code`), not by its fields. With `cache=True` both codes are kept, and
# a process that loads both has two functions of one name: callees of the one then work on the records of the other, which
# are of another size. Here only the names are looked at.
#
# Output seen:  records of 4 and of 64 bytes: one name
# Ends with 0 while that is so, with 1 when it has changed.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet numba==0.68.1
name() { # name NUMBERS: of a function of records with so many 32-bit numbers
  "$work/venv/bin/python" -c "
import sys, numba, numpy as np
records = np.zeros(3, np.dtype([('numbers', np.int32, (int(sys.argv[1]),))]))
length = numba.njit(lambda array: len(array))
length(records)
print(length.overloads[numba.typeof(records),].fndesc.mangled_name)
" "$1"
}
[ "$(name 1)" = "$(name 16)" ] && seen="one name" || seen="two names"
echo "records of 4 and of 64 bytes: $seen"
[ "$seen" = "one name" ]

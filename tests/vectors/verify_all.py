#!/usr/bin/env python3
"""Run docs/verify_chain.py over many files in one process.

    python3 tests/vectors/verify_all.py DIR

For each `*.chain` file in DIR, in order of names, writes one line: name, status (0 or 1), what the verifier says,
with a tab between. Starting the verifier itself a thousand times takes much longer.
"""

import pathlib
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "docs"))
from verify_chain import Wrong, verify  # noqa: E402


def main(arguments):
    if len(arguments) != 1:
        print("usage: verify_all.py DIR", file=sys.stderr)
        return 2
    for path in sorted(pathlib.Path(arguments[0]).glob("*.chain")):
        with path.open("rb") as stream:
            try:
                status, said = 0, verify(stream)
            except Wrong as wrong:
                status, said = 1, str(wrong)
        print(path.name, status, said, sep="\t")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""An `intaglio` command in this process, and then the most memory of the GPU that torch had given out and had reserved.

    python recipes/full_size/peak.py sample --model FOLDER --prompt "a b c" --steps 4 --device cuda

The last line has seconds, with the reading of the model, and GiB.
"""

import sys
import time

import torch

from intaglio.cli import main as intaglio

GIB = 1 << 30


def main() -> int:
    began = time.monotonic()
    code = intaglio(sys.argv[1:])
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    given, reserved = torch.cuda.max_memory_allocated() / GIB, torch.cuda.max_memory_reserved() / GIB
    print(f"{time.monotonic() - began:.1f} s, {given:.2f} GiB given out, {reserved:.2f} GiB reserved")
    return int(code or 0)


if __name__ == "__main__":
    sys.exit(main())

"""Every test of this folder, in two halves at once; see its README.md.

Each waits for one program after another, most of which use one processor. What the half with SAM
prints is printed after the other's.
"""

import os
import sys

import drift
import emulator
import functions
import outbox
import suite
import watch

if sys.argv[1:] == ["sam"]:
    emulator.sam()
    suite.close()

environment = os.environ | {"DEPLOY_HALF": "sam"}
with suite.Process("sam", [sys.executable, __file__, "sam"], environment) as half:
    drift.main()
    watch.main()
    outbox.main()
    functions.main()
    emulator.cdk()
    suite.count(half)
suite.close()

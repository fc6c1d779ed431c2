"""Every test of this folder, one after another; see its README.md."""

import drift
import emulator
import functions
import suite

drift.main()
functions.main()
emulator.main()
suite.close()

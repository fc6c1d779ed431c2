"""Every test of this folder, one after another; see its README.md."""

import drift
import emulator
import functions
import outbox
import suite
import watch

drift.main()
watch.main()
outbox.main()
functions.main()
emulator.main()
suite.close()

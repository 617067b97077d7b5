"""`python -m voicereel` is the same as the command `voicereel`."""

import sys

from .cli import main

sys.exit(main())

"""``python -m tf_distilbert``: the command line."""

import sys

from tf_distilbert.cli import main

sys.exit(main())

"""``python -m tf_distilbert``: the command line."""

import sys

from tf_distilbert.cli.main import main

sys.exit(main())

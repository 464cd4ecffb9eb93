"""Libraries are silent while they work for us, and speak again."""

import logging

import pytest

from tf_distilbert.training.runtime import silenced


def test_a_library_speaks_again_even_after_an_error(caplog):
    logger = logging.getLogger("a.library")
    logger.setLevel(logging.INFO)
    with pytest.raises(ValueError, match="broken"), silenced("a.library"):
        logger.error("unheard")
        raise ValueError("broken")
    logger.info("heard")
    assert caplog.messages == ["heard"]

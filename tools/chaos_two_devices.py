"""The command line of the package, on a CPU that TensorFlow takes for two devices."""

import sys

import tensorflow as tf

from tf_distilbert.cli.main import main

if __name__ == "__main__":
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
    )
    sys.exit(main())

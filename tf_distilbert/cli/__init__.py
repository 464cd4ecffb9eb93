"""The command line: which words it takes (`options`), and one function a verb (`verbs`).

Both come in three: what is done before a training, to train and measure, and with a trained model.

A verb reads its options, calls one function of the packages below and prints what it gives. No
model, no training and no file format belongs here. It may import every other package, each when
its verb runs, so that ``--help`` costs no TensorFlow; nothing imports it.
"""

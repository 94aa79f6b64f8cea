"""Records beside a Keras export what Keras computes: recording.py has the format. No gradients: tf2onnx lays out weights its own way."""

import keras
import numpy as np
import tensorflow as tf

import recording
from export_keras import input_names


def twin(make, model, precision):
    """Returns the model that make() gives in the given precision, with model's weights and without dropout."""
    keras.utils.clear_session()
    keras.config.set_floatx(precision)
    made = make()
    keras.config.set_floatx("float32")
    made.set_weights([np.asarray(w) for w in model.weights])
    for layer in made._flatten_layers():
        if isinstance(layer, keras.layers.Dropout):
            layer.rate = 0
    return made


def mean_loss(loss, precision):
    """Returns what compile() was given as a function of target and prediction that gives the batch's mean."""
    if isinstance(loss, keras.losses.Loss):
        return type(loss).from_config({**loss.get_config(), "dtype": precision})
    function = keras.losses.get(loss)
    return lambda y, p: tf.reduce_mean(function(y, p))


def train(model, inputs, target, rule, rate, precision):
    """Trains the model; returns the losses, no gradients, and the losses without updates."""
    loss, optimizer = mean_loss(model.loss, precision), keras.optimizers.SGD(rate)
    optimizer.build(model.trainable_variables)
    cast = lambda a: a.astype(precision) if a.dtype.kind == "f" else a  # noqa: E731
    inputs, target = [cast(a) for a in inputs], cast(target)

    def forward(xs, y):
        value = loss(y, model(xs if len(xs) > 1 else xs[0], training=True))
        return value + tf.add_n(model.losses) if model.losses else value

    @tf.function
    def step(xs, y):
        with tf.GradientTape() as tape:
            value = forward(xs, y)
        optimizer.apply(tape.gradient(value, model.trainable_variables), model.trainable_variables)
        return value

    def fed(rows):
        return [tf.constant(a[rows]) for a in inputs], tf.constant(target[rows])

    still = tf.function(forward)
    untrained = recording.untrained(lambda rows: float(still(*fed(rows))), rule)
    return [float(step(*fed(recording.batch(k, *rule)))) for k in range(recording.STEPS)], {}, untrained


def record(make, model, folder, rule=(160, 16), rate=0.01):
    """Writes recorded.npz into the folder that export() wrote model to; make() gives the same network again, rule is (N, B)."""
    names = input_names(model)
    inputs, target = recording.read_data(folder, names, rule[0])
    fed = {n: a.astype(t.dtype) for (n, a), t in zip(inputs.items(), model.inputs)}
    computed = recording.outputs(folder, fed, rule)
    runs = [train(twin(make, model, p), list(inputs.values()), target, rule, rate, p) for p in ("float64", "float32")]
    recording.write(folder, rule, rate, *runs, computed)

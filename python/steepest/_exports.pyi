"""The names that both backend modules export, for type checkers: members of `Backend`, which has the signatures."""

from steepest._operations import Backend

_backend: Backend

ACTIVATIONS = _backend.ACTIVATIONS
ACTIVATION_PARAMETERS = _backend.ACTIVATION_PARAMETERS
INPUT_DERIVATIVES = _backend.INPUT_DERIVATIVES
POINTWISE_LOSSES = _backend.POINTWISE_LOSSES
UPDATE_RULES = _backend.UPDATE_RULES
accumulate = _backend.accumulate
activation = _backend.activation
activation_backward = _backend.activation_backward
adagrad_update = _backend.adagrad_update
adam_update = _backend.adam_update
argmax = _backend.argmax
class_scatter = _backend.class_scatter
dropout = _backend.dropout
gaussian = _backend.gaussian
gradient_gram = _backend.gradient_gram
gradient_norms = _backend.gradient_norms
increment = _backend.increment
linear = _backend.linear
linear_backward = _backend.linear_backward
linear_loss = _backend.linear_loss
linear_sgd = _backend.linear_sgd
linear_tangent = _backend.linear_tangent
log_softmax = _backend.log_softmax
look_up = _backend.look_up
matmul = _backend.matmul
max = _backend.max
mean = _backend.mean
min = _backend.min
output_divergence = _backend.output_divergence
output_fisher = _backend.output_fisher
pointwise_loss = _backend.pointwise_loss
prelu = _backend.prelu
prelu_backward = _backend.prelu_backward
random_bits = _backend.random_bits
random_uniform = _backend.random_uniform
require_finite = _backend.require_finite
rmsprop_update = _backend.rmsprop_update
sampled_score = _backend.sampled_score
second_moment = _backend.second_moment
sgd_update = _backend.sgd_update
softmax = _backend.softmax
softmax_backward = _backend.softmax_backward
softmax_cross_entropy = _backend.softmax_cross_entropy
sum = _backend.sum
sum_squares = _backend.sum_squares
take_rows = _backend.take_rows
take_sparse_rows = _backend.take_sparse_rows
zero_one_loss = _backend.zero_one_loss

"""Update rules that take gradients as they are, or scale them parameter by parameter."""

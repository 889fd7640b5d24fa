"""What a training is read from: solver, nets, options, and checks of what they say."""

"""What the library is for: tuners of solvers, of training and of data mixtures, built on the public API."""

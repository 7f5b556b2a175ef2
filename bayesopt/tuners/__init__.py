"""The uses that the library is for, each built on its public API alone."""

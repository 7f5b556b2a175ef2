"""Problems whose answer is known, one file a family."""

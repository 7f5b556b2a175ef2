"""What has happened: trials, the arrays that strategies see, and the places where they are kept."""

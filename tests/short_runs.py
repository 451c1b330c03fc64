"""The shortest run that the command line can train."""

SHORT = ["--method", "baseline", "--student", "wrn-10-1", "--teacher", "wrn-10-1", "--epochs=1", "--batch-size=40"]

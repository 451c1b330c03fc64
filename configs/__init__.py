"""Configurations shipped with the package, each with a header: command, hardware, time, what to expect."""

"""The command line: parse, call one Python function, print."""

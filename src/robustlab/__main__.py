"""The command ``robustlab``, which is also ``python -m robustlab``."""

try:
    from robustlab.cli.interrupt import leave_on_ctrl_c
except KeyboardInterrupt:  # before Ctrl-C has a handler
    raise SystemExit(130) from None


def main() -> None:
    """Run the command line."""
    leave_on_ctrl_c()
    import gc

    gc.disable()  # what is loaded here stays, and to look for garbage in it takes time
    from robustlab.cli.main import main as run

    gc.enable()
    run()


if __name__ == "__main__":
    main()

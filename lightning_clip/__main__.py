"""`python -m lightning_clip`: the same program as `lightning-clip`."""

from lightning_clip.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())

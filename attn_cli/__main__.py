"""`python -m attn_cli` is `attn`."""

from attn_cli.cli.main import main

main()

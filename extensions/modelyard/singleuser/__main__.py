"""`python -m modelyard.singleuser`: the port first, then the server."""

from __future__ import annotations

from modelyard.singleuser.listening import listen


def main() -> None:
    """Runs until the server is told to end."""
    early = listen()
    from modelyard.singleuser.server import launch

    launch(early)


if __name__ == "__main__":
    main()

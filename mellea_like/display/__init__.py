"""How a generation looks on a page: pictures folded from its events, and the display that is updated while it runs."""

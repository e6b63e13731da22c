"""Which of several log-ins an image is pulled with."""

from __future__ import annotations

import pytest

from agent.images import login_for

KEYS = ("ghcr.io", "ghcr.io/shop", "ghcr.io/shop/secret/web", "docker.io/library", "r.example:5000", "docker.io/acme")


@pytest.mark.parametrize(
    ("image", "key"),
    [
        ("ghcr.io/other/web:1", "ghcr.io"),
        ("ghcr.io/shop/web:1", "ghcr.io/shop"),
        ("GHCR.io/shop/web@sha256:00", "ghcr.io/shop"),
        ("ghcr.io/shop:1", "ghcr.io/shop"),
        ("ghcr.io/shopping/web:1", "ghcr.io"),
        ("ghcr.io/shop/secret/web:1@sha256:00", "ghcr.io/shop/secret/web"),
        ("ghcr.io/shop/secret/web/more:1", "ghcr.io/shop/secret/web"),
        ("ghcr.io/shop/secret/webs:1", "ghcr.io/shop"),
        ("nginx:1.27", "docker.io/library"),
        ("docker.io/nginx", "docker.io/library"),
        ("docker.io/library/nginx@sha256:00", "docker.io/library"),
        ("acme/web", "docker.io/acme"),
        ("other/web", None),
        ("r.example:5000/a:1", "r.example:5000"),
        ("r.example/a:1", None),
    ],
)
def test_the_log_in_that_names_the_most_of_an_image_counts(image: str, key: str | None) -> None:
    logins = {one: {"username": one, "password": "x"} for one in KEYS}
    assert login_for(image, logins) == (logins[key] if key else None)

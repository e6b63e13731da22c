"""The install script's two holes."""

from __future__ import annotations

import pytest

from gateway.install import render
from kernel.errors import Unavailable


def test_address_and_token_are_filled_in_everywhere() -> None:
    script = 'URL="{{PUBLIC_URL}}"\nTOKEN="{{TOKEN}}"\ncurl "{{PUBLIC_URL}}/x"\n'
    assert render(script, public_url="https://fairlead.example/", token="fl_enr_abc") == (
        'URL="https://fairlead.example"\nTOKEN="fl_enr_abc"\ncurl "https://fairlead.example/x"\n'
    )


@pytest.mark.parametrize("url", ['http://x";reboot;"', "http://x/$(id)", "ftp://x", "http://x\n", "javascript:1", "http://u:p@x"])
def test_an_address_that_could_leave_its_quotes_is_refused(url: str) -> None:
    with pytest.raises(Unavailable):
        render("{{PUBLIC_URL}}", public_url=url, token="fl_enr_abc")

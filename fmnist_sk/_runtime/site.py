"""Links from the notebook's view of an estimator to its page on the documentation's site."""
from __future__ import annotations

import os


class OnSite:
    """Mixin for estimators: scikit-learn asks it for a link.

    The environment variable ``FMNIST_SK_SITE`` names the site's address, such as http://localhost:8000; without it
    there are no links.
    """

    _doc_link_module = "fmnist_sk"

    @property
    def _doc_link_template(self) -> str:
        address = os.environ.get("FMNIST_SK_SITE", "").rstrip("/")
        return address.replace("{", "{{").replace("}", "}}") + "/api/fmnist_sk.{estimator_name}.html" if address else ""

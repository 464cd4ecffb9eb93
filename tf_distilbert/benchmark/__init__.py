"""How fast and how large this is, beside what else there is, on the machine at hand."""

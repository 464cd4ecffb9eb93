"""How fast and how large this is, beside what else there is, on the machine at hand.

Here is what is compared, timed and shown; what computes lies in the other packages. It may import
all of them but `cli`, `report` and `demo`; nothing but `cli` imports it. It stays in the wheel, as
``tf-distilbert benchmark`` is how a user measures their own machine, but fenced: nobody who distils
imports it, and packages such as torch are imported inside its worker processes alone.
"""

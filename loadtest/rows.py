"""Names of rows in locust's figures that others look for."""

# Answers of a limiter, which are no failures.
LIMITED = "429 limited"

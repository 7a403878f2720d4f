"""Any number of evaluations side by side: a page, and tables for papers and programs."""

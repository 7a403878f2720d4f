"""The run on disk: whose folder it is, the store and the ledger, the manifest, and the schemas of results."""

"""The run on disk: the folder's owner, the store, the ledger, the manifest, and the results' schemas."""

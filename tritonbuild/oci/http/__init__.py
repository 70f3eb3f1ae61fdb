"""HTTP as registries speak it: connections, proxies, TLS, redirects, challenges, tokens and waiting.

In: URLs and settings. Out: answers with bounded headers and bodies. Called by `oci.transport`.
"""

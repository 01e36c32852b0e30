"""A stand-in for Metabase: the server's side of JWT single sign-on, for tests that have no Metabase.

It needs nothing but Python, judges tokens with code of its own, and behaves as one major version of Metabase:

    eras          which version can do what
    settings      what an administrator of Metabase sets
    unsign        the judgement of a token, in the order and the words of the library that Metabase uses
    directory     people, groups and tenants
    sessions      sessions, API keys and discovery hashes
    groups        group sync
    tenants       tenant rules
    login         from a token to a session
    sso           /auth/sso
    api           /api
    dashboards    /api/dashboard, as much of it as the SDK needs to show one
    instance      all of this together: one Metabase that answers requests
    faults        what goes wrong on demand
    http_message  requests and answers; http_server: the threads and sockets under them
    request_log   what was asked
    control       what a test sees and changes; control_http: the same, over HTTP
    standin       both servers, started and ended together

`python -m standin_metabase --help` starts it as a process.
"""

from .standin import StandIn

__all__ = ["StandIn"]

"""Serves the issuer: `server.py ADDRESS aio|threads`, with the secret in JWT_SHARED_SECRET."""

import asyncio
import os
import sys
from concurrent.futures import ThreadPoolExecutor

import grpc
from grpc_health.v1 import health, health_pb2_grpc
from issuer import INVALID, OPTIONS, Invalid, issue
from metabase.token.v1 import token_service_pb2_grpc as services

SECRET = os.environ["JWT_SHARED_SECRET"]
THREADS = 4


class Threaded(services.MetabaseTokenServiceServicer):
    def IssueMetabaseToken(self, request, context):
        try:
            return issue(request, SECRET)
        except Invalid as error:
            context.abort(INVALID, str(error))


class Async(services.MetabaseTokenServiceServicer):
    async def IssueMetabaseToken(self, request, context):
        try:
            return issue(request, SECRET)
        except Invalid as error:
            await context.abort(INVALID, str(error))


def bind(server, address: str):
    assert server.add_insecure_port(address), f"{address} cannot be bound"
    return server


async def serve_async(address: str) -> None:
    server = grpc.aio.server(options=OPTIONS)
    services.add_MetabaseTokenServiceServicer_to_server(Async(), server)
    health_pb2_grpc.add_HealthServicer_to_server(health.aio.HealthServicer(), server)
    await bind(server, address).start()
    await server.wait_for_termination()


def serve_threads(address: str) -> None:
    server = grpc.server(ThreadPoolExecutor(THREADS), options=OPTIONS)
    services.add_MetabaseTokenServiceServicer_to_server(Threaded(), server)
    health_pb2_grpc.add_HealthServicer_to_server(health.HealthServicer(), server)
    bind(server, address).start()
    server.wait_for_termination()


if __name__ == "__main__":
    match sys.argv[1:]:
        case [address, "aio"]:
            asyncio.run(serve_async(address))
        case [address, "threads"]:
            serve_threads(address)
        case _:
            sys.exit("usage: server.py ADDRESS aio|threads")

"""What a real gRPC channel carries on loopback, counted at the socket, against the prediction."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest
from counting_proxy import HOST, counting_proxy

from floss_sim import RunConfig
from floss_sim.network.transport import Transport
from floss_sim.vectors.density import kept_count
from floss_sim.vectors.top_k import top_k_mask
from floss_sim.wire import encode

NO_LIMIT = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
KEPT = Transport(framing="grpc", connection="kept")
NEW = Transport(framing="grpc", connection="new")
SIZES = (1_000, 16_379, 16_380, 147_456, 600_000, 2_400_000)


def tolerance(predicted: int) -> float:
    return 0.001 * predicted + 150


@pytest.fixture(scope="module")
def server() -> Iterator[int]:
    """The port of a server that takes any upload, and answers a download with what it is told."""
    methods = {
        "Upload": grpc.unary_unary_rpc_method_handler(lambda blob, context: b""),
        "Download": grpc.unary_unary_rpc_method_handler(
            lambda size, context: incompressible(int(size))
        ),
    }
    handler = grpc.method_handlers_generic_handler("floss.Server", methods)
    with ThreadPoolExecutor(1) as threads:
        running = grpc.server(threads, handlers=(handler,), options=NO_LIMIT)
        port = running.add_insecure_port(f"{HOST}:0")
        running.start()
        yield port
        running.stop(None).wait()


def incompressible(size: int) -> bytes:
    return np.random.default_rng(size).bytes(size)


def carried(server: int, method: str, way: str, request: bytes, calls: int = 3) -> list[int]:
    """Return the bytes that each of some calls on one connection moves in a direction."""
    with counting_proxy(server) as proxy:
        seen = [0]
        with grpc.insecure_channel(f"{HOST}:{proxy.port}", options=NO_LIMIT) as channel:
            call = channel.unary_unary(f"/floss.Server/{method}")
            for _ in range(calls):
                call(request, timeout=30)
                seen.append(proxy.counts()[way])
    return np.diff(seen).tolist()


def check(counted: list[int], nbytes: int) -> None:
    first, *later = counted
    for transport, calls in ((NEW, [first]), (KEPT, later)):
        predicted = transport.message_bytes(nbytes)
        print(f"\n{transport.connection}: {nbytes} bytes, {predicted} predicted, {calls} carried")
        for found in calls:
            assert found == pytest.approx(predicted, abs=tolerance(predicted))


@pytest.mark.parametrize("nbytes", SIZES)
def test_an_upload_takes_the_bytes_that_are_predicted(server: int, nbytes: int):
    check(carried(server, "Upload", "up", incompressible(nbytes)), nbytes)


@pytest.mark.parametrize("nbytes", SIZES)
def test_a_download_takes_the_bytes_that_are_predicted(server: int, nbytes: int):
    check(carried(server, "Download", "down", str(nbytes).encode()), nbytes)


def test_an_encoded_update_takes_the_bytes_that_are_predicted(
    server: int, sparse_digits: RunConfig
):
    layout = sparse_digits.layout
    update_N = np.random.default_rng(0).standard_normal(layout.entries).astype(np.float32)
    blob = encode(layout, update_N, top_k_mask(update_N, kept_count(layout.entries, 1 / 16)))
    check(carried(server, "Upload", "up", blob), len(blob))

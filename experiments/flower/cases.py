"""Cases of a deployment beyond a whole fleet on simulated partitions, on real processes.

Nodes with files of their own, a node whose file is absent, fewer nodes than the cohort, a node that
is restarted, and a SuperLink that is not there.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from deployment import Deployment, deployed, run_app, run_restarting, try_app
from places import loopback
from sklearn.datasets import load_digits

from floss_sim import RunConfig, RunFolder, RunRecord, floss, load_task
from floss_sim.deployment import NodeRun, export_app, open_server, read_run_file
from floss_sim.methods import Method, method_from_name

ROUNDS, RANK = 3, 4
METHOD = floss(1 / 4, 1 / 16)
_COLUMNS = ["round", "version", "reports", "down_bytes", "up_bytes", "accuracy", "loss"]
Case = tuple[str, str, bool]  # what was tried, what was seen, whether it is as it should be


def cases(flower: Path, work: Path) -> Iterator[Case]:
    """Yield what each case showed.

    Args:
        flower: The ``bin`` folder of Flower's environment.
        work: Folder for files of the nodes, apps and records.
    """
    work.mkdir(parents=True)
    files = [_own_file(work / f"node-{i}.npz", slice(60 * i, 60 * (i + 1))) for i in range(2)]
    with loopback(2) as places, deployed(places, flower, work / "links") as running:
        yield _own_files(running, work, files)
        yield _absent_file(running, work, files[0])
        yield _too_few_nodes(running, work)
        yield _restarted_node(running, work)
    yield _no_superlink(flower, work)


def _own_file(path: Path, part: slice) -> Path:
    digits = load_digits()
    images = (digits.images[part, None] / 16).astype(np.float32)
    np.savez(path, x=images, y=digits.target[part])
    return path


def _app(
    work: Path,
    name: str,
    clients: int,
    method: Method = METHOD,
    rounds: int = ROUNDS,
) -> Path:
    changes = {"partition.clients": clients, "server.cohort": clients, "partition.law": "iid",
               "data.limit": 200}  # fmt: skip
    config = RunConfig.of(load_task("digits", changes=changes), method, rank=RANK)
    return export_app(config, work / name, task="digits", rounds=rounds, eval_every=1)


def _data_path(file: Path) -> str:
    return f'data-path="{file}"'


def _own_files(running: Deployment, work: Path, files: Sequence[Path]) -> Case:
    """Two nodes train on files of their own, as two clients do in this process."""
    app = _app(work, "own", 2)
    run_app(running, app, "own", node_configs=[_data_path(file) for file in files])
    found = RunFolder.read(app / "record").record()
    expected = [_in_process(app, work / f"expected-{i}", order) for i, order in
                enumerate((files, files[::-1]))]  # fmt: skip
    same = any(_rows(found) == _rows(each) for each in expected)
    fates = found.transfers["fate"].to_pylist()
    said = f"{ROUNDS} rounds, {fates.count('aggregated')} messages aggregated"
    return "`data-path`: a file on each node", f"{said}; equal in this process: {same}", same


def _in_process(app: Path, out: Path, files: Sequence[Path]) -> RunRecord:
    """Return the record of the same run, whose clients have these files in their order."""
    path = app / "floss_app" / "run.json"
    nodes = [NodeRun.open(path, data=str(file)) for file in files]
    with open_server(read_run_file(path), out, "flwr") as server:
        for _ in range(ROUNDS):
            replies = {}
            for sent in server.open_round(range(len(nodes))):
                upload = nodes[sent.client].train(sent, {})
                replies[sent.client] = {"payload": upload.blob, "examples": upload.examples}
            server.close_round(replies)
        server.finish()
    return RunFolder.read(out).record()


def _rows(record: RunRecord) -> list[dict[str, object]]:
    return record.rounds.select(_COLUMNS).to_pylist()


def _absent_file(running: Deployment, work: Path, file: Path) -> Case:
    """A node whose file is absent is left out of every round; its own log says why."""
    app = _app(work, "absent", 2)
    configs = [_data_path(file), _data_path(work / "absent.npz")]
    run_app(running, app, "absent", node_configs=configs)
    fates = RunFolder.read(app / "record").record().transfers["fate"].to_pylist()
    log = (running.work / "absent-node-1.log").read_text(encoding="utf-8", errors="replace")
    right = fates.count("dropped") == ROUNDS and "cannot train: no data at" in log
    said = f"{fates.count('dropped')} messages dropped; the node's log: "
    return "`data-path`: absent on one node", said + _line(log, "cannot train"), right


def _too_few_nodes(running: Deployment, work: Path) -> Case:
    """Two nodes for a cohort of three: the run fails before its first round."""
    app = _app(work, "few", 3)
    status, details = try_app(running, app, "few", "--run-config", "wait-for-nodes-s=5.0")
    right = "failed" in status and "2 clients are connected; the cohort needs 3" in details
    record = app / "record" / "run.json"
    return "two nodes, cohort of three", f"{status}: {details}", right and not record.exists()


def _restarted_node(running: Deployment, work: Path) -> Case:
    """A node of FLoRA is restarted: it is found, and trains on from a whole download."""
    app = _app(work, "restarted", 2, method_from_name("flora"), rounds=6)
    status = run_restarting(running, app, "restarted")["status"]
    transfers = RunFolder.read(app / "record").record().transfers.to_pylist()
    fates = [row["fate"] for row in transfers if row["client"] == 1 and row["direction"] == "down"]
    log = (running.work / "restarted-node-1-again.log").read_text(
        encoding="utf-8", errors="replace"
    )
    lost, back = fates.count("dropped"), fates[-1] == "aggregated"
    right = status == "finished:completed" and back and "cannot train" not in log
    said = f"{status}; {lost} messages dropped; the new node trains: {back}; its log: "
    return "a node is ended and started again", said + _line(log, "what this node kept"), right


def _no_superlink(flower: Path, work: Path) -> Case:
    """Nothing listens: ``flwr run`` ends with an error."""
    home = work / "nowhere"
    home.mkdir()
    text = '[superlink]\ndefault = "gone"\n[superlink.gone]\naddress = "127.0.0.1:8459"\n'
    (home / "config.toml").write_text(text + "insecure = true\n", encoding="utf-8")
    path = f"{flower}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(  # noqa: S603
        [flower / "flwr", "run", str(work / "own")],
        capture_output=True, text=True, timeout=300,
        env={**os.environ, "PATH": path, "FLWR_HOME": str(home), "FLWR_TELEMETRY_ENABLED": "0"},
    )  # fmt: skip
    said = " ".join(re.sub(r"[^ -~]", " ", done.stdout + done.stderr).split())
    right = done.returncode != 0 and "SuperLink is unavailable" in said
    return "no SuperLink at the address", f"exit code {done.returncode}: {said}", right


def _line(log: str, part: str) -> str:
    """Return the first line of a log with a part, from this part on and without the folder."""
    line = next((line for line in log.splitlines() if part in line), "no such line")
    return re.sub(r"/\S*/", "", line[line.find(part) :].strip())

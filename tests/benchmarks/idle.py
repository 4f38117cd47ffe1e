"""How busy a campaign keeps its workers: the real driver, and engines that only wait.

Prints one line of JSON. Real are the driver (``leadline run`` with its loop, pool, fits and
embedded store), its Prefect server, a Dask scheduler behind TLS, the guardian and the
engine's process of each calculation, and all their files. Simulated are the engine's work,
a sleep of log-normally distributed length before one evaluation of a toy potential, and the
number of machines: the workers are threads of a few Dask workers on this one, which also
carries what would be spread over theirs.

    python tests/benchmarks/idle.py WORKERS CALCULATIONS SECONDS MODE
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import yaml
from distributed.security import Security

from leadline.tasks.store.store import open_store
from leadline.tasks.viewing import campaign_view

PLUGIN = Path(__file__).parents[1] / "plugins" / "moody_emt"
MAIN = "from leadline.flows.cli import main; main()"
SPREAD = 0.5
"""Sigma of the logarithm of an engine's time."""
PROCESSES = 2
"""Dask workers that the simulated ones are threads of."""
NAME = "idle"
Figures = dict[str, Any]


def measured(folder: Path, workers: int, calculations: int, seconds: float, mode: str) -> Figures:
    """Run a campaign to its end and return what its records say of the workers' time."""
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, [str(PLUGIN), os.environ.get("PYTHONPATH")])),
        "LEADLINE_STORE": str(folder / "store"),
        "LEADLINE_PROFILES": str(folder),
        "PREFECT_HOME": str(folder / "prefect"),
        "OMP_NUM_THREADS": "1",
        "DO_NOT_TRACK": "1",
    }
    environment.pop("PREFECT_API_URL", None)
    file = folder / f"{NAME}.yaml"
    file.write_text(yaml.safe_dump(_campaign(workers, calculations, seconds, mode)))
    with _dask(folder, workers, environment) as cluster:
        (folder / "simulated.yaml").write_text(yaml.safe_dump({"cluster": cluster}))
        cpu = _driven(file, environment, folder)
    return {**_told(folder / "store"), "driver_cpu_ms": 1e3 * cpu / calculations}


def _campaign(workers: int, calculations: int, seconds: float, mode: str) -> Mapping[str, Any]:
    lattice = {"lattice": "fcc", "elements": ["Ag", "Au", "Cu"], "max_atoms": 6}
    return {
        "name": NAME,
        "candidates": [{"source": "orderings", **lattice}],
        "engine": {"name": "moody-emt", "seconds": seconds, "spread": SPREAD},
        "acquisition": {"batch": workers},
        "start": {"random": workers},
        "compute": {"profile": "simulated", "mode": mode},
        "stop": {"expected_missed": None, "calculations": calculations},
    }


@contextmanager
def _dask(
    folder: Path, workers: int, environment: Mapping[str, str]
) -> Iterator[Mapping[str, Any]]:
    """Keep a scheduler and its workers, and give what a profile says of them."""
    tls, file = _certificates(folder), folder / "scheduler.json"
    common = ["--host=127.0.0.1", "--no-dashboard"]
    common += [f"--tls-{name}={path}" for name, path in tls.items()]
    threads = [f"--nworkers={PROCESSES}", f"--nthreads={workers // PROCESSES}"]
    with ExitStack() as stack:

        def start(name: str, *options: str) -> None:
            module = f"distributed.cli.dask_{name}"
            stack.enter_context(_running(module, [*common, *options], folder, environment))

        start("scheduler", "--port=0", "--protocol=tls", f"--scheduler-file={file}")
        address = _once_there(file)["address"]
        start("worker", address, *threads, f"--local-directory={folder}")
        yield {
            "kind": "scheduler",
            "address": address,
            "ca": str(tls["ca-file"]),
            "certificate": str(tls["cert"]),
            "key": str(tls["key"]),
            "timeout": 60,
        }


def _certificates(folder: Path) -> dict[str, Path]:
    security = Security.temporary()
    contents = {
        "ca-file": security.tls_ca_file,
        "cert": security.tls_client_cert,
        "key": security.tls_client_key,
    }
    for name, content in contents.items():
        (folder / f"{name}.pem").write_text(content)
    return {name: folder / f"{name}.pem" for name in contents}


@contextmanager
def _running(
    module: str, options: list[str], folder: Path, environment: Mapping[str, str]
) -> Iterator[None]:
    settings = {
        "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0",
        "DASK_DISTRIBUTED__SCHEDULER__WORK_STEALING": "False",
    }
    with (folder / f"{module}.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", module, *options],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=folder,
            env={**environment, **settings},
        )
        try:
            yield
        finally:
            process.terminate()
            process.wait()


def _once_there(file: Path) -> Any:
    while not file.exists() or not file.read_text():
        time.sleep(0.1)
    return json.loads(file.read_text())


def _driven(file: Path, environment: Mapping[str, str], folder: Path) -> float:
    """Run the driver to its end; return its own seconds of CPU time."""
    with (folder / "driver.log").open("w") as log:
        driver = psutil.Popen(
            [sys.executable, "-c", MAIN, "run", str(file)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=folder,
            env=dict(environment),
        )
        spent = 0.0
        try:
            while driver.poll() is None:
                with suppress(psutil.NoSuchProcess):
                    times = driver.cpu_times()
                    spent = max(spent, times.user + times.system)
                time.sleep(0.2)
        finally:
            if driver.poll() is None:
                driver.terminate()
                driver.wait()
    if driver.returncode:
        raise RuntimeError((folder / "driver.log").read_text()[-3000:])
    return spent


def _told(folder: Path) -> Figures:
    with open_store(None, folder, write=False) as store:
        view = campaign_view(store, NAME)
        rounds = store.rounds(NAME)
        sizes = Counter(each.round for each in store.proposals(NAME))
    assert view.ledger.use is not None
    use, seconds = view.ledger.use, view.ledger.seconds
    return {
        "busy": use.busy,
        "starting": use.starting,
        "unpicked": use.unpicked,
        "drain_s": use.drain,
        "engine_s": seconds["engine"],
        "wall_s": view.ledger.wall,
        "learning_s": seconds["learning"],
        "proposing_s": seconds["proposing"],
        "store_s": seconds["store"],
        "rounds": len(rounds),
        "largest_round": max(sizes.values()),
        "computed": view.computed,
    }


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as made:
        figures = measured(
            Path(made), int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), sys.argv[4]
        )
    print(json.dumps({name: round(value, 4) for name, value in figures.items()}))

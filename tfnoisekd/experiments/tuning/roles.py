"""Who a process is among those that search: keras-tuner's own environment variables, without keras-tuner."""

import os

CHIEF, WORKER = "chief", "worker"
TUNER_ID, IP, PORT = VARIABLES = ("KERASTUNER_TUNER_ID", "KERASTUNER_ORACLE_IP", "KERASTUNER_ORACLE_PORT")
NO_PROXY = "no_grpc_proxy"  # or gRPC would ask a proxy for the way to the next process


def role():
    """`CHIEF`, `WORKER`, or None where a process searches alone.

    Raises:
        ValueError: If some of the variables are set and others are not.
    """
    missing = [name for name in VARIABLES if not os.environ.get(name)]
    if len(missing) == len(VARIABLES):
        return None
    if missing:
        raise ValueError(
            f"`{missing[0]}` must be set where others of keras-tuner's variables are. Received: none; set "
            f"{', '.join(VARIABLES)}, or none of them"
        )
    return CHIEF if CHIEF in os.environ[TUNER_ID] else WORKER


def place():
    """Address and port of the chief."""
    return f"{os.environ[IP]}:{os.environ[PORT]}"


def variables(name, host, port):
    """The environment of a chief or worker, a dict of texts.

    Args:
        name: The chief's holds "chief"; those of workers differ from each other.
        host: Address of the chief.
        port: Its port.
    """
    return {TUNER_ID: name, IP: host, PORT: str(port), NO_PROXY: host}

"""The systems in the set-ups that the workloads compare."""

from benchmarks.systems.asya import Asya
from benchmarks.systems.celery import Celery
from benchmarks.systems.dramatiq import Dramatiq
from benchmarks.systems.faststream import FastStream
from benchmarks.systems.peer import Peer

ASYA = Asya()
CELERY_THREADS = Celery("threads", 8)
CELERY_SOLO = Celery("solo", 1)
CELERY_PREFORK = Celery("prefork", 2)
DRAMATIQ_8 = Dramatiq(1, 8)
DRAMATIQ_1 = Dramatiq(1, 1)
DRAMATIQ_2X8 = Dramatiq(2, 8)
FASTSTREAM = FastStream()
PEER = Peer()

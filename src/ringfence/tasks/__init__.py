"""Benign tasks, one file each: rows to train on, questions to ask, and an exact score."""

from ringfence.data.task import TASKS, Task, TaskSpec, parse_spec
from ringfence.tasks.arithmetic import Arithmetic
from ringfence.tasks.foqa import FoQA
from ringfence.tasks.gsm8k import GSM8K
from ringfence.tasks.opswap import OpSwap

__all__ = ["GSM8K", "TASKS", "Arithmetic", "FoQA", "OpSwap", "Task", "TaskSpec", "parse_spec"]

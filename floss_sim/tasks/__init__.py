"""Tasks: a TOML file that names data, split, partition, backbone and training defaults.

No framework is loaded here: data are numpy arrays, the backbone is a folder and its config.
"""

from floss_sim.tasks.partition import PARTITIONS, partition
from floss_sim.tasks.task import Task, TaskData, load_task, packaged_tasks

__all__ = ["PARTITIONS", "Task", "TaskData", "load_task", "packaged_tasks", "partition"]

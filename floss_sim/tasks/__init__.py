"""Tasks: TOML files that name data, split, partition, backbone and training defaults.

No training framework is loaded: data are numpy arrays, the backbone is a folder with a config. The
libraries for data sets, texts, images and the hub's cache are imported only when they are needed.
GUIDE.md in this folder explains how to write a task.
"""

from floss_sim.tasks.partition import PARTITIONS, partition
from floss_sim.tasks.task import Task, load_task, packaged_tasks
from floss_sim.tasks.task_data import TaskData

__all__ = ["PARTITIONS", "Task", "TaskData", "load_task", "packaged_tasks", "partition"]

"""Tasks: a TOML file that names data, split, partition, backbone and training defaults.

No framework is loaded here: data are numpy arrays, the backbone is a folder and its config. The
libraries that read data sets, texts, images and the hub's cache are loaded when such data are.
How to write a task of your own is in GUIDE.md beside this file.
"""

from floss_sim.tasks.examples import TaskData
from floss_sim.tasks.partition import PARTITIONS, partition
from floss_sim.tasks.task import Task, load_task, packaged_tasks

__all__ = ["PARTITIONS", "Task", "TaskData", "load_task", "packaged_tasks", "partition"]

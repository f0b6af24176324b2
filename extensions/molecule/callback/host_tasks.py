# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Counts, for each play and host, the tasks that went to the host, and says so at the end."""

import json
import os
import time
from pathlib import Path
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: host_tasks
type: aggregate
short_description: Counts the tasks that went to the host, and tells which took longest
description:
  - Writes C(host_tasks.json) into Molecule's ephemeral directory, play by play, so that a play can check
    the one before it.
  - A task with a loop is one task. What the controller does by itself, and what it skips, does not count.
"""

CONTROLLER_ONLY = {
    "add_host", "assert", "debug", "fail", "group_by", "import_role", "import_tasks", "include_role", "include_tasks",
    "include_vars", "meta", "set_fact", "set_stats", "validate_argument_spec",
}


class CallbackModule(CallbackBase):  # type: ignore[misc]
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "host_tasks"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self.play = ""
        self.tasks: dict[str, dict[str, list[str]]] = {}
        self.began: dict[tuple[str, str], float] = {}
        self.seconds: dict[str, list[tuple[float, str]]] = {}
        self.file = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"], "host_tasks.json")

    def v2_playbook_on_play_start(self, play: Any) -> None:
        self.play = play.get_name()
        self.tasks[self.play] = {}

    def v2_runner_on_start(self, host: Any, task: Any) -> None:
        self.began[host.get_name(), task.get_name()] = time.monotonic()

    def _count(self, result: Any) -> None:
        task = result.task
        began = self.began.pop((result.host.get_name(), task.get_name()), None)
        if began is not None:
            self.seconds.setdefault(self.play, []).append((time.monotonic() - began, task.get_name()))
        if task.action.rpartition(".")[2] in CONTROLLER_ONLY or task.delegate_to:
            return
        self.tasks[self.play].setdefault(result.host.get_name(), []).append(task.get_name())
        self.file.write_text(json.dumps(self.tasks, indent=1), encoding="utf-8")

    def v2_runner_on_ok(self, result: Any) -> None:
        self._count(result)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        self._count(result)

    def v2_playbook_on_stats(self, stats: Any) -> None:
        for play, hosts in self.tasks.items():
            for host, names in hosts.items():
                self._display.display(f"{host}: {len(names)} tasks went to the host in the play {play!r}")
        for play, tasks in self.seconds.items():
            longest = ", ".join(f"{seconds:.0f} s {name}" for seconds, name in sorted(tasks)[:-4:-1])
            total = sum(seconds for seconds, _name in tasks)
            self._display.display(f"{total:.0f} s in the tasks of the play {play!r}, of these {longest}")

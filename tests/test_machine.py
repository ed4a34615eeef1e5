"""The memory that may be used: the smallest of what machine, container and ulimit leave."""

import os
import resource

import pytest

from attn_cli import machine
from attn_cli.errors import ContentError, size

MIB = 1 << 20
PAGE = 4096


@pytest.fixture
def system(tmp_path, monkeypatch):
    """A system of 1 GiB whose files are those given, and a process without a limit."""
    pages = {"SC_PAGE_SIZE": PAGE, "SC_PHYS_PAGES": 1024 * MIB // PAGE}
    monkeypatch.setattr(os, "sysconf", pages.__getitem__)
    no_limit = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    monkeypatch.setattr(resource, "getrlimit", {resource.RLIMIT_AS: no_limit}.__getitem__)

    def made(files):
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return machine.available(tmp_path)

    return made


MEMINFO = "MemTotal:        1048576 kB\nMemFree:          1000 kB\nMemAvailable:     614400 kB\n"
NEW = "sys/fs/cgroup/a/b/memory."
OLD = "sys/fs/cgroup/memory/docker/x/memory."


@pytest.mark.parametrize(
    ("files", "left"),
    [
        ({}, 1024),
        ({"proc/meminfo": MEMINFO}, 600),
        ({"proc/meminfo": "MemTotal: 1048576 kB\n"}, 1024),
        ({"proc/meminfo": "MemAvailable: 9999999999 kB\n"}, 1024),
        ({"proc/meminfo": "MemAvailable: much kB\nMemAvailable:\n\0"}, 1024),
    ],
)
def test_a_machine_has_what_is_available_or_else_what_it_was_built_with(system, files, left):
    assert system(files) == left * MIB


@pytest.mark.parametrize(
    ("files", "left"),
    [
        ({f"{NEW}max": f"{500 * MIB}\n"}, 500),
        ({f"{NEW}max": "max\n"}, 600),
        ({f"{NEW}max": f"{500 * MIB}\n", f"{NEW}current": f"{100 * MIB}\n"}, 400),
        # Of what it uses, files make room.
        (
            {
                f"{NEW}max": f"{500 * MIB}\n",
                f"{NEW}current": f"{400 * MIB}\n",
                f"{NEW}stat": f"anon 5\nactive_file {100 * MIB}\ninactive_file {200 * MIB}\n",
            },
            400,
        ),
        # A group is inside another.
        ({"sys/fs/cgroup/a/memory.max": f"{300 * MIB}\n", f"{NEW}max": f"{500 * MIB}\n"}, 300),
        ({"sys/fs/cgroup/memory.max": f"{200 * MIB}\n"}, 200),
        ({f"{NEW}max": f"{100 * MIB}\n", f"{NEW}current": f"{300 * MIB}\n"}, 0),
        ({f"{NEW}max": "", f"{NEW}current": "\0"}, 600),
    ],
)
def test_a_container_has_what_its_groups_leave(system, files, left):
    asked = {"proc/meminfo": MEMINFO, "proc/self/cgroup": "0::/a/b\n", **files}
    assert system(asked) == left * MIB


@pytest.mark.parametrize(
    ("files", "left"),
    [
        ({f"{OLD}limit_in_bytes": f"{400 * MIB}\n"}, 400),
        ({f"{OLD}limit_in_bytes": "9223372036854771712\n"}, 600),
        (
            {
                f"{OLD}limit_in_bytes": f"{400 * MIB}\n",
                f"{OLD}usage_in_bytes": f"{300 * MIB}\n",
                f"{OLD}stat": f"active_file 1\ntotal_active_file {50 * MIB}\n"
                f"total_inactive_file {100 * MIB}\n",
            },
            250,
        ),
        # Inside the container its own group is the root.
        ({"sys/fs/cgroup/memory/memory.limit_in_bytes": f"{300 * MIB}\n"}, 300),
        ({"sys/fs/cgroup/cpu/docker/x/memory.limit_in_bytes": f"{300 * MIB}\n"}, 600),
    ],
)
def test_an_older_container_has_too(system, files, left):
    groups = "3:cpu:/docker/x\n2:memory:/docker/x\n1:name=systemd:/\n"
    assert system({"proc/meminfo": MEMINFO, "proc/self/cgroup": groups, **files}) == left * MIB


@pytest.mark.parametrize(
    ("statm", "left"), [("25600 5 5 5 0 5 0\n", 200), ("", 300), ("999999 0\n", 0)]
)
def test_a_limit_on_addresses_leaves_what_is_not_mapped(system, monkeypatch, statm, left):
    limits = {resource.RLIMIT_AS: (300 * MIB, resource.RLIM_INFINITY)}
    monkeypatch.setattr(resource, "getrlimit", limits.__getitem__)
    assert system({"proc/meminfo": MEMINFO, "proc/self/statm": statm}) == left * MIB


def test_a_limit_too_low_to_begin_with_is_said(monkeypatch):
    monkeypatch.setattr(machine, "_of_process", lambda root: (120 << 20) - 1)
    with pytest.raises(ContentError, match=r"not enough memory: a limit \(ulimit -v\) leaves"):
        machine.check_start()
    monkeypatch.setattr(machine, "_of_process", lambda root: 120 << 20)
    machine.check_start()


def test_this_machine_has_some_and_not_more_than_there_is():
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert 0 < machine.available() <= whole


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (3 << 19, "1.5 MiB"),
        (5 << 40, "5,120.0 GiB"),
    ],
)  # fmt: skip
def test_sizes_in_words(count, expected):
    assert size(count) == expected

"""Which nodes share a loop: neighbours whose loops agree, as long as nothing between them lies outside."""

from __future__ import annotations

from mlpx.program.ir import Node, Program, Value
from mlpx.program.primitives import ELEMENTWISE
from mlpx.program.rewrite.roles import Roles, is_fusable, space_of
from mlpx.typing import Shape


class Group:
    """Nodes in one loop, by their number in the program."""

    def __init__(self, number: int, space: Shape | None, roles: Roles | None) -> None:
        self.numbers = {number}
        self.space = space
        self.roles = roles


class Grouping:
    """A division of a program's nodes into groups that can be run one after another."""

    def __init__(self, program: Program) -> None:
        self._nodes = program.nodes
        self._number = {node: i for i, node in enumerate(program.nodes)}
        self._made = {value: i for i, node in enumerate(program.nodes) for value in node.outputs}
        self._readers = [
            sorted({self._number[reader] for value in node.outputs for reader in program.consumers.get(value, ())})
            for node in program.nodes
        ]
        self.group_of: list[Group] = []
        for number, node in enumerate(program.nodes):
            self._place(number, node, program)
        self._gather_scalars()
        for number in reversed(range(len(self._nodes))):
            self._sink(number, program)

    def groups(self) -> list[Group]:
        """All groups, in an order in which they can be run."""
        everything = list({id(group): group for group in self.group_of}.values())
        waiting = {id(group): 0 for group in everything}
        for group in everything:
            for after in self._after(group):
                waiting[id(after)] += 1
        ready = [group for group in everything if not waiting[id(group)]]
        ordered: list[Group] = []
        while ready:
            ready.sort(key=lambda group: min(group.numbers), reverse=True)
            group = ready.pop()
            ordered.append(group)
            for after in self._after(group):
                waiting[id(after)] -= 1
                if not waiting[id(after)]:
                    ready.append(after)
        return ordered

    def _place(self, number: int, node: Node, program: Program) -> None:
        """Give a node a group: of its own, then joined with those of the nodes it reads from."""
        if not is_fusable(node):
            self.group_of.append(Group(number, None, None))
            return
        space = space_of(node)
        roles = None if space is None else Roles(space)
        if roles is not None and not roles.admit(node):
            self.group_of.append(Group(number, None, None))
            return
        group = Group(number, space, roles)
        self.group_of.append(group)
        numbers = sorted({self._number[made] for v in node.arrays if (made := program.producers.get(v))}, reverse=True)
        for earlier in numbers:
            other = self.group_of[earlier]
            mine = self.group_of[number]
            if other is not mine and is_fusable(self._nodes[earlier]):
                self._join(other, mine)

    def _gather_scalars(self) -> None:
        """One loop for the single numbers that follow from the program's inputs alone and are read, such as learning rates.

        Another for those that nothing reads, such as the next step's number: it can wait until the old ones are done with.
        """
        first: dict[bool, Group] = {}
        for group in list({id(group): group for group in self.group_of}.values()):
            if group.space == () and not any(self._reads_others(group, i) for i in group.numbers):
                read = bool(self._after(group))
                if read in first:
                    self._join(first[read], group)
                else:
                    first[read] = group

    def _reads_others(self, group: Group, number: int) -> bool:
        made = {value: i for i in group.numbers for value in self._nodes[i].outputs}
        return any(value in self._made and value not in made for value in self._nodes[number].arrays)

    def _sink(self, number: int, program: Program) -> None:
        """Move a node to the only group that reads it, where that leaves its old group less to write."""
        node, group = self._nodes[number], self.group_of[number]
        readers = {id(self.group_of[i]): self.group_of[i] for i in self._readers[number]}
        if group.space in (None, ()) or len(readers) != 1 or len(group.numbers) == 1 or node.output in program.outputs:
            return
        (goal,) = readers.values()
        if goal is group or goal.space != group.space or node.primitive not in ELEMENTWISE:
            return
        rest = group.numbers - {number}
        exposed = sum(
            value.nbytes
            for value in set(node.arrays)
            if self._made.get(value) in rest and value not in program.outputs and not self._read_beyond(value, group)
        )
        roles = self._replayed(goal.numbers | {number}, goal.space)
        if exposed <= node.output.nbytes and roles is not None:
            left = self._replayed(rest, group.space)
            if left is not None:
                group.numbers, group.roles = rest, left
                goal.numbers, goal.roles = goal.numbers | {number}, roles
                self.group_of[number] = goal

    def _read_beyond(self, value: Value, group: Group) -> bool:
        return any(self.group_of[i] is not group for i in self._readers[self._made[value]])

    def _replayed(self, numbers: set[int], space: Shape | None) -> Roles | None:
        if space is None:
            return None
        roles = Roles(space)
        return roles if all(roles.admit(self._nodes[i]) for i in sorted(numbers)) else None

    def _join(self, a: Group, b: Group) -> None:
        """Make one group of two, if a loop can hold both and no path leads from one to the other outside."""
        for space in dict.fromkeys((a.space, b.space)):
            if space is None and not (a.space is None and b.space is None):
                continue
            roles = self._roles(a, b, space)
            if (roles is None and space is not None) or self._parted(a, b):
                continue
            a.numbers |= b.numbers
            a.space, a.roles = space, roles
            for number in b.numbers:
                self.group_of[number] = a
            return

    def _roles(self, a: Group, b: Group, space: Shape | None) -> Roles | None:
        """The roles of all values of both groups in one loop, or None."""
        if space is None:
            return None
        if len(b.numbers) == 1 and a.roles is not None and a.space == space:
            kept = Roles(space, dict(a.roles.of), set(a.roles.accumulated), a.roles.across, a.roles.within)
            return kept if kept.admit(self._nodes[min(b.numbers)]) else None
        return self._replayed(a.numbers | b.numbers, space)

    def _parted(self, a: Group, b: Group) -> bool:
        """Whether a path from one group to the other leads through a third."""
        return self._leads(a, b) or self._leads(b, a)

    def _leads(self, start: Group, goal: Group) -> bool:
        seen: set[int] = {id(start)}
        open_groups = [group for group in self._after(start) if group is not goal]
        while open_groups:
            group = open_groups.pop()
            if id(group) in seen:
                continue
            seen.add(id(group))
            for after in self._after(group):
                if after is goal:
                    return True
                open_groups.append(after)
        return False

    def _after(self, group: Group) -> list[Group]:
        """The groups that read from a group, among the nodes that have one."""
        limit = len(self.group_of)
        found = {id(self.group_of[i]): self.group_of[i] for j in group.numbers for i in self._readers[j] if i < limit}
        found.pop(id(group), None)
        return list(found.values())

# SPDX-License-Identifier: Apache-2.0
"""The rule of the queue: who is admitted when and where, who takes part in an operation.

Sentences are admitted in their order, so that none starves: the next one waits for a slot and for
as many free rows as it has tokens, and nobody overtakes it. It gets the lowest free slot; its rows
follow those of all that are resident. A row that a drop or an exit frees moves the later ones up.
"""

from dataclasses import dataclass

__all__ = ["Queue", "Resident"]


@dataclass(eq=False)
class Resident:
    """A sentence in a slot.

    slot : its number; number : of the sentence in the queue; rows : its live tokens
    layer : that it enters next, from 0; fresh : admitted in this pass
    last : this pass is its last one, whatever its entropy
    """

    slot: int
    number: int
    rows: int
    layer: int = 0
    fresh: bool = True
    last: bool = False


class Queue:
    """The waiting and the resident sentences.

    Parameters
    ----------
    lengths : tokens of each sentence, in the order of the queue
    slots : sentences resident at once; rows : live tokens resident at once
    layers : of the model
    kind : class of `residents`, `Resident` or one derived from it

    Attributes
    ----------
    residents : in the order of their rows
    group, group_layer : those that `next_group` chose last, and their layer
    """

    def __init__(self, lengths, slots, rows, layers, kind=Resident):
        self._waiting = list(enumerate(lengths))
        self._slots = slots
        self._rows = rows
        self._layers = layers
        self._kind = kind
        self._pending = []
        self.residents = []
        self.group = []
        self.group_layer = 0

    @property
    def rows(self):
        """Live tokens of all residents."""
        return sum(resident.rows for resident in self.residents)

    @property
    def refuses(self):
        """Whether a sentence waits though a slot is free: there are too few rows for it."""
        return bool(self._waiting) and len(self.residents) < self._slots

    def starts(self):
        """{slot: first row} of the residents."""
        found = {}
        row = 0
        for resident in self.residents:
            found[resident.slot] = row
            row += resident.rows
        return found

    def admit(self):
        """Begin a pass; the list of those who are new in it."""
        for resident in self.residents:
            resident.fresh = False
        admitted = []
        while self.refuses and self._waiting[0][1] <= self._rows - self.rows:
            number, length = self._waiting.pop(0)
            taken = {resident.slot for resident in self.residents}
            slot = min(set(range(self._slots)) - taken)
            admitted.append(self._kind(slot, number, length))
            self.residents.append(admitted[-1])
        self._pending = self.selected("ALL")
        for resident in self.residents:
            resident.last = resident.layer == self._layers - 1
        return admitted

    def next_group(self):
        """Choose the lowest slot that had no turn in this pass, and all others at its layer.

        False, and the group stays, when everybody had one.
        """
        if not self._pending:
            return False
        self.group_layer = self._pending[0].layer
        self.group = [one for one in self._pending if one.layer == self.group_layer]
        self._pending = [one for one in self._pending if one not in self.group]
        return True

    def selected(self, who):
        """The residents that an operation works on, by slot; `who` is a name of isa.Select."""
        test = {
            "ALL": lambda one: True,
            "NEW": lambda one: one.fresh,
            "GROUP": lambda one: one in self.group,
            "NOT_LAST": lambda one: not one.last,
            "LAST": lambda one: one.last,
        }[who]
        return sorted(filter(test, self.residents), key=lambda one: one.slot)

    def advance(self, residents, leaving):
        """`residents` have gone through their layer; those of `leaving` free their slots."""
        for resident in residents:
            resident.layer += 1
        self.residents = [one for one in self.residents if one not in leaving]

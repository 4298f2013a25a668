# SPDX-License-Identifier: Apache-2.0
"""The smallest case that still fails as a case does.

    cuts = shrink(case, lambda case: examine(case)["failures"])

Fewer sentences first, then one slot, no stalls, no latency, nothing wrong, shorter sentences; what
does not fail in the same way is put back.
"""

import dataclasses
import re

from sim.proof.campaign.cases import Cuts

__all__ = ["failure_kind", "shrink"]


def failure_kind(failures):
    """What two failures have in common: the first one's last line, without its numbers."""
    return re.sub(r"-?\d+", "#", failures[0].strip().splitlines()[-1]) if failures else None


def shrink(case, fails, cuts=None):
    """`Cuts` of the smallest case found.

    fails : gives the failures of a case, none when it is right
    """
    wanted = failure_kind(fails(case))
    shrinker = _Shrinker(case, lambda small: failure_kind(fails(small)) == wanted)
    cuts = cuts or Cuts()
    cuts = shrinker.fewer_sentences(cuts)
    for change in ({"slots": 1}, {"stalls": False}, {"latency": False}, {"errors": False}):
        cuts = shrinker.changed(cuts, **change)
    cuts = shrinker.shorter(cuts)
    # A sentence that was needed at first may not be so any more.
    return shrinker.fewer_sentences(cuts)


class _Shrinker:
    """Tries cuts of one case."""

    def __init__(self, case, same):
        self.case, self.same = case, same

    def changed(self, cuts, **change):
        """The cuts with a change, or as they were where that does not fail in the same way."""
        more = dataclasses.replace(cuts, **change)
        small = self.case.cut(more)
        return more if small is not None and self.same(small) else cuts

    def fewer_sentences(self, cuts):
        """Leave out halves, quarters, .. single sentences, as long as that goes."""
        left = [one.number for one in self.case.queue]
        left = list(left if cuts.sentences is None else cuts.sentences)
        size = len(left) // 2
        while size:
            begin = 0
            while begin < len(left):
                fewer = left[:begin] + left[begin + size :]
                more = self.changed(cuts, sentences=tuple(fewer)) if fewer else cuts
                if more == cuts:
                    begin += size
                else:
                    cuts, left = more, fewer
            size //= 2
        return cuts

    def shorter(self, cuts):
        """The fewest tokens that still fail."""
        small = self.case.cut(cuts)
        longest = max((len(one.ids) for one in small.queue if not one.error), default=1)
        for tokens in range(1, longest):
            more = self.changed(cuts, tokens=tokens)
            if more != cuts:
                return more
        return cuts

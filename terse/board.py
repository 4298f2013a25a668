# SPDX-License-Identifier: Apache-2.0
"""`terse build`, `terse flash` and `terse board`: a bitstream, a model in the flash, sentences."""

import pathlib
import shlex
import shutil
import subprocess
from collections.abc import Callable, Sequence
from typing import Any

from firmware.driver import DriverError, SerialLink, Terse
from firmware.driver.board import (
    SENTENCES,
    board_windows,
    check_store,
    read_store,
    send_image,
)
from firmware.frames import FrameError
from firmware.store import StoreError, store_parts
from golden_model.model import run as run_golden
from hw.board.board import BAUD, FLASH_ANSWERS, MEMORY_ANSWERS
from hw.board.kinds import Kind, board_kinds
from sim.cosim.build import build as build_library
from sim.cosim.cosim import EMBEDDING, MAIN
from sim.cosim.session import Session
from sim.proof.check import differences, untraced
from sim.synthesis.bitstream import Bitstream, build_bitstream
from sim.synthesis.vendor import Sources, build_sources
from terse import catalog
from terse.artefacts import compile_images
from terse.errors import UserError
from terse.run import Report, prepare, sentence_report

__all__ = [
    "board_kind",
    "build_board",
    "flash_commands",
    "run_on_board",
    "simulate_latency",
    "serial_port",
    "write_flash",
    "write_parts",
]

MOST_SEEDS = 100
LOWEST, HIGHEST = 5e6, 200e6  # Hz
PROGRAMMER = "openFPGALoader"
SILENCE = 2.0  # seconds after which an answer is given up


def board_kind(name: str) -> Kind:
    """The board of this name; UserError for one that there is not."""
    kinds = board_kinds()
    if name not in kinds:
        raise UserError(f"No board {name!r}; there is {', '.join(kinds)}")
    return kinds[name]


def build_board(
    board: str,
    hw: str | None = None,
    settings: Sequence[str] = (),
    megahertz: float | None = None,
    seeds: int = 1,
    watch: Callable[[str], None] = lambda step: None,
) -> Bitstream | Sources:
    """The bitstream of a board, by default with the configuration and the clock made for it.

    Of a board whose chip only the vendor's tool places and routes the files for that.
    """
    kind = board_kind(board)
    config = catalog.hardware(hw or kind.hw, settings)
    clock = kind.clock if megahertz is None else megahertz * 1e6
    if not 1 <= seeds <= MOST_SEEDS:
        raise UserError(f"--seeds must be in 1..{MOST_SEEDS}, not {seeds}")
    if not LOWEST <= clock <= HIGHEST:
        raise UserError(
            f"--clock must be in {LOWEST / 1e6:g}..{HIGHEST / 1e6:g} MHz, not {clock / 1e6:g}"
        )
    if config.bus_bits != 32:
        raise UserError(f"A board's bus has 32 bits, not {config.bus_bits}; --set bus=32")
    if kind.device is None:
        return build_sources(kind, config, clock, watch)
    return build_bitstream(kind, config, clock, seeds, watch)


def simulate_latency(
    board: str,
    model: str = "tiny",
    count: int | None = None,
    hw: str | None = None,
    settings: Sequence[str] = (),
) -> dict[int, list[int]]:
    """{slots: cycles of each sample sentence from its start to its end}, one queue of all.

    The accelerator is co-simulated; its memories answer as those of the board do
    (`MEMORY_ANSWERS`, `FLASH_ANSWERS` of hw/board/board.py). What crosses the serial line is not
    in it.
    """
    kind = board_kind(board)
    config = catalog.hardware(hw or kind.hw, settings)
    _, sentences, _ = prepare(model, (), count=count, positions=config.positions)
    image, embedding, _ = compile_images(model, hw or kind.hw, None, settings)
    session = Session(build_library(config, untraced), config, {}, image, embedding, len(sentences))
    session.sim.behave(MAIN, **MEMORY_ANSWERS)
    session.sim.behave(EMBEDDING, **FLASH_ANSWERS)
    session.load()
    found = {}
    for slots in range(1, config.slots + 1):
        session.queue([(one.ids, one.segments) for one in sentences], slots)
        session.run()
        found[slots] = [record.cycles for record in session.results(len(sentences))]
    return found


def write_parts(
    folder: pathlib.Path,
    board: str,
    model: str,
    hw: str | None = None,
    settings: Sequence[str] = (),
) -> tuple[dict[int, pathlib.Path], list[str]]:
    """({address in the flash: file that goes there}, what a user should know) of a model."""
    image, embedding, notes = compile_images(model, hw or board_kind(board).hw, None, settings)
    try:
        parts = store_parts(image, embedding)
    except StoreError as error:
        raise UserError(f"Model {model} does not fit {board}: {error}") from error
    folder.mkdir(parents=True, exist_ok=True)
    paths = {}
    for address, data in parts.items():
        paths[address] = folder / f"{pathlib.Path(model).name}_{address:06x}.bin"
        paths[address].write_bytes(data)
    return paths, notes


def flash_commands(
    board: str, bitstream: pathlib.Path | None, parts: dict[int, pathlib.Path]
) -> list[list[str]]:
    """What writes bitstream and model into the flash, a command each."""
    start = [PROGRAMMER, "--board", board_kind(board).flash, "--write-flash"]
    commands = [] if bitstream is None else [[*start, str(bitstream)]]
    return commands + [
        [*start, "--file-type", "raw", "--offset", f"0x{address:x}", str(path)]
        for address, path in parts.items()
    ]


def write_flash(commands: Sequence[Sequence[str]]) -> None:
    """Run the commands; UserError where the programmer is missing or fails."""
    if shutil.which(PROGRAMMER) is None:
        raise UserError(f"{PROGRAMMER} is not installed; without --write the commands are printed")
    for command in commands:
        if subprocess.run(command).returncode:
            raise UserError(f"Failed: {shlex.join(command)}")


def serial_port(port: str) -> Any:
    """pyserial's `Serial`; UserError where the port cannot be opened."""
    import serial

    try:
        return serial.Serial(port, BAUD, timeout=SILENCE)
    except (serial.SerialException, ValueError) as error:
        raise UserError(f"Serial port {port} cannot be opened: {error}") from error


def run_on_board(
    line: Any,
    board: str,
    texts: Sequence[str] = (),
    model: str = "tiny",
    pair: bool = False,
    count: int | None = None,
    truncate: bool = False,
    hw: str | None = None,
    settings: Sequence[str] = (),
    upload: bool = False,
) -> Report:
    """Sentences through the board at the end of `line`, and through the golden model.

    line : what pyserial's `Serial` does
    upload : send the image over the line, in place of the one from the flash
    """
    hw = hw or board_kind(board).hw
    config = catalog.hardware(hw, settings)
    checkpoint, sentences, notes = prepare(model, texts, pair, count, config.positions, truncate)
    network = catalog.network(model, checkpoint)
    image, embedding, remarks = compile_images(model, hw, None, settings)
    asked = [(sentence.ids, sentence.segments) for sentence in sentences]
    try:
        link = SerialLink(line)
        terse, store = Terse(link), read_store(link)
        check_store(store, image, embedding)
        if upload:
            send_image(link, store, image)
        terse.reset()
        terse.load(board_windows(terse, store))
        records = [
            record
            for start in range(0, len(asked), SENTENCES)
            for record in terse.classify(asked[start : start + SENTENCES])
        ]
        counters = terse.counters()
    except (DriverError, FrameError, StoreError) as error:
        raise UserError(f"{error}{_advice(error)}") from error
    failures, rows = [], []
    for i, (sentence, record) in enumerate(zip(sentences, records, strict=True)):
        golden = run_golden(network, sentence.ids, sentence.segments)
        found = differences(i, golden, record, network.exit_threshold > 0)
        failures += found
        rows.append(
            sentence_report(sentence, golden, record, not found, network, checkpoint.labels)
        )
    return Report(
        model=model,
        hw=board,
        format=str(network.fmt),
        jobs=1,
        bit_exact=not failures,
        tensors_compared=len(records),
        elements_compared=sum(len(record.logits) for record in records),
        cycles_per_second=0.0,
        total_cycles=sum(record.cycles for record in records),
        sentences=rows,
        failures=failures,
        names=("record",),
        notes=notes + remarks,
        counters=counters,
    )


def _advice(error):
    """What a user can do, where an error has such a thing."""
    if isinstance(error, DriverError) and error.error.name.startswith("IMAGE_"):
        return "; the image in the board's flash is damaged: write it again, or send it (--upload)"
    return ""

# SPDX-License-Identifier: Apache-2.0
"""Bad images, programs, windows, buses and sentences through the whole machine: error code, registers, soft reset, good sentences again."""
import struct

import numpy as np
import pytest
import torch

from firmware import isa
from firmware.image import HEADER_BYTES, parse_embedding, parse_image
from firmware.isa import Opcode
from firmware.registers import VERSION, Error
from golden_model.hardware import UNITS
from golden_model.random_model import random_sentences
from sim import session as host
from sim.check import traced
from sim.cosim import DECERR, EMBEDDING, IRQ, LIMIT, MAIN, SLVERR
from sim.cosim_build import build
from sim.session import PAGE, RESET, START
from sim.system import CONFIG, MODEL, WATCHDOG, Machine, embedding_header, free_offsets, header, instruction, network

RESPONSES = {SLVERR: Error.READ_SLVERR, DECERR: Error.READ_DECERR}
BAD, BEFORE = MODEL.vocabulary - 1, MODEL.vocabulary - 2   # words that good sentences do not use


@pytest.fixture(scope="module")
def library():
    return build(CONFIG, traced)


@pytest.fixture(scope="module")
def model():
    return network()


@pytest.fixture
def machine(library, model, monkeypatch):
    monkeypatch.setattr(host, "PATIENCE", 300_000)  # cycles, so that a machine that hangs fails its test
    machine = Machine(library, model)
    yield machine
    assert machine.sim.violations == []


def sentence(*tokens):
    return torch.tensor(tokens, dtype=torch.int64), torch.zeros(len(tokens), dtype=torch.int64)


def find(image, opcode):
    """The number of the first instruction with an opcode."""
    return next(pc for pc, words in enumerate(parse_image(image).program) if isa.unpack(words, "opcode") == opcode)


def flipped(data, bit):
    data = bytearray(data)
    data[bit // 8] ^= 1 << bit % 8
    return bytes(data)


def test_good(machine):
    machine.exact(machine.sentences)


# Images -------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("size", [0, 32, HEADER_BYTES, -32])
def test_truncated_image(machine, size):
    machine.session.write("IMAGE_SIZE", size % len(machine.program.image))
    machine.refuses(machine.session.load, Error.IMAGE_LENGTH)


def test_truncated_image_in_a_whole_window(machine):
    image = machine.program.image
    machine.image(image[:len(image) // 2].ljust(len(image), b"\0"))
    machine.refuses(machine.session.load, Error.IMAGE_CRC)


BITS = {"magic": (5, Error.IMAGE_MAGIC), "version": (32, Error.IMAGE_VERSION), "config": (64, Error.IMAGE_CRC), "length": (128, Error.IMAGE_LENGTH),
        "program": (8 * HEADER_BYTES + 3, Error.IMAGE_CRC), "weights": (-8 * 100, Error.IMAGE_CRC), "CRC": (-1, Error.IMAGE_CRC)}


@pytest.mark.parametrize("place", BITS)
def test_flipped_bit(machine, place):
    bit, error = BITS[place]
    machine.image(flipped(machine.program.image, bit % (8 * len(machine.program.image))))
    machine.refuses(machine.session.load, error)


HEADERS = {
    "another config": ({"config_hash": CONFIG.config_hash ^ 1}, Error.IMAGE_CONFIG),
    "another embedding image": ({"embedding_hash": 0x12345678}, Error.EMBEDDING_HASH),
    "an absent unit": ({"units": CONFIG.unit_bits | 1 << UNITS.index("dvfs")}, Error.IMAGE_UNITS),
    "an unknown unit": ({"units": 1 << 31}, Error.IMAGE_UNITS),
    "too many layers": ({"model": CONFIG.layers + 1 | 3 << 8 | 2 << 16}, Error.IMAGE_MODEL),
    "too many positions": ({"positions": CONFIG.positions + 1}, Error.IMAGE_MODEL),
    "another vocabulary": ({"vocabulary": MODEL.vocabulary + 1}, Error.EMBEDDING_HEADER),
    "program outside": ({"program_offset": 0x10000}, Error.IMAGE_LENGTH),
    "too many instructions": ({"instructions": 0x8000}, Error.IMAGE_LENGTH),
    "constants outside": ({"constants_offset": 0x10000}, Error.IMAGE_LENGTH),
    "too many constants": ({"constants": 0x100000}, Error.IMAGE_LENGTH),
}


@pytest.mark.parametrize("case", HEADERS)
def test_header(machine, case):
    words, error = HEADERS[case]
    machine.image(header(machine.program.image, **words))
    machine.refuses(machine.session.load, error)


EMBEDDING_HEADERS = {"hash": ({"hash": 1}, Error.EMBEDDING_HASH), "magic": ({"magic": 0}, Error.EMBEDDING_HEADER),
                     "version": ({"version": VERSION - 1}, Error.EMBEDDING_HEADER), "length": ({"length": 64}, Error.EMBEDDING_HEADER),
                     "width": ({"width": MODEL.embedding + 16}, Error.EMBEDDING_HEADER)}


@pytest.mark.parametrize("case", EMBEDDING_HEADERS)
def test_embedding_header(machine, case):
    words, error = EMBEDDING_HEADERS[case]
    machine.embedding(embedding_header(machine.program.embedding, **words))
    machine.refuses(machine.session.load, error)


@pytest.mark.parametrize("word", [0, 4, 8, 15])
def test_damaged_embedding_header(machine, word):
    machine.embedding(flipped(machine.program.embedding, 32 * word + 9))
    machine.refuses(machine.session.load, Error.EMBEDDING_HEADER)


def test_embedding_window_too_small(machine):
    machine.session.write("EMBEDDING_SIZE", 32)
    machine.refuses(machine.session.load, Error.EMBEDDING_HEADER)


# Programs -----------------------------------------------------------------------------------------------------------

def run_patched(machine, image, error, pc):
    machine.image(image)
    machine.refuses(machine.start, error, pc)


@pytest.mark.parametrize("opcode", [9, 255])
@pytest.mark.parametrize("where", [Opcode.ADMIT, Opcode.LINEAR, Opcode.EXIT, Opcode.LOOP])
def test_illegal_opcode(machine, where, opcode):
    pc = find(machine.program.image, where)
    run_patched(machine, instruction(machine.program.image, pc, opcode=opcode), Error.ILLEGAL_OPCODE, pc)


def test_program_without_an_end(machine):
    image = machine.program.image
    loop = find(image, Opcode.LOOP)
    run_patched(machine, header(image, instructions=loop), Error.ILLEGAL_OPCODE, loop)


@pytest.mark.parametrize("sentences", [2, 6])
def test_program_that_ends_early(machine, sentences):
    """HALT in place of LOOP leaves sentences resident, staged, and under way; the next run knows nothing of them."""
    image = machine.program.image
    machine.image(instruction(image, find(image, Opcode.LOOP), opcode=Opcode.HALT))
    machine.session.load()
    machine.session.queue(random_sentences(MODEL, sentences, seed=4))
    machine.session.run()
    assert machine.session.read("STATUS") == 0b1010     # loaded, done
    machine.image(image)
    machine.exact(machine.sentences)


def test_jump_beyond_the_program(machine):
    image = machine.program.image
    beyond = parse_image(image).instructions + 3
    run_patched(machine, instruction(image, find(image, Opcode.LOOP), target=beyond), Error.ILLEGAL_OPCODE, beyond)


@pytest.mark.parametrize("opcode", [Opcode.LOOP, Opcode.GROUP])
def test_program_in_a_circle(machine, opcode):
    """A jump to itself; and one back to ADMIT before anybody works on the rows."""
    pc = find(machine.program.image, opcode)
    target = pc if opcode == Opcode.LOOP else 0
    run_patched(machine, instruction(machine.program.image, pc, opcode=Opcode.LOOP, target=target), Error.WATCHDOG, None)


WEIGHTS = {
    "behind the image": (lambda size, beats: {"address": size}, Error.WINDOW),
    "over its end": (lambda size, beats: {"address": size - 32}, Error.WINDOW),
    "before it": (lambda size, beats: {"address": -32}, Error.WINDOW),
    "not aligned": (lambda size, beats: {"address": 1}, Error.WINDOW),
    "nothing": (lambda size, beats: {"beats": 0}, Error.WINDOW),
    "everything": (lambda size, beats: {"beats": 0xFFFFFFFF}, Error.WINDOW),
    "too few": (lambda size, beats: {"beats": beats // 2}, Error.WATCHDOG),
}


@pytest.mark.parametrize("case", WEIGHTS)
def test_weights(machine, case):
    change, error = WEIGHTS[case]
    image = machine.program.image
    pc = find(image, Opcode.LINEAR)
    beats = isa.unpack(parse_image(image).program[pc], "beats")
    run_patched(machine, instruction(image, pc, **change(len(image), beats)), error, pc)


@pytest.mark.parametrize("surplus", [1, 64, 1000])
def test_surplus_weights(machine, surplus):
    """Words after the last column of a stream do no harm."""
    image = machine.program.image
    pc = find(image, Opcode.LINEAR)
    beats = isa.unpack(parse_image(image).program[pc], "beats")
    machine.image(instruction(image, pc, beats=beats + surplus))
    machine.exact(machine.sentences)


# Windows ------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("address", ["before", "behind", "top", "image"])
def test_queue_outside(machine, address):
    session = machine.session
    addresses = {"before": session.input_base - 32, "behind": session.result_base, "top": 0xFFFFFFE0, "image": PAGE}
    session.write("QUEUE_BASE", addresses[address])
    machine.refuses(machine.start, Error.WINDOW, find(machine.program.image, Opcode.ADMIT))


@pytest.mark.parametrize("address", ["before", "behind", "top", "over the end"])
def test_tokens_outside(machine, address):
    session = machine.session
    addresses = {"before": 0, "behind": session.result_base, "top": 0xFFFFFFE0, "over the end": session.result_base - 32}
    session.load()
    session.queue([sentence(*range(12))])
    session.sim.memory[session.input_base:session.input_base + 4] = np.frombuffer(struct.pack("<I", addresses[address]), np.uint8)
    machine.refuses(session.run, Error.WINDOW, find(machine.program.image, Opcode.ADMIT))


@pytest.mark.parametrize("records", [0, 1])
def test_results_outside(machine, records):
    """The window ends before the last word of the record after `records` whole ones."""
    session = machine.session
    size = (records + 1) * session.record_bytes - 4
    session.sim.writable((session.result_base, session.result_base + size))
    session.write("RESULT_SIZE", size)
    with pytest.raises(host.SessionError):
        machine.start()
    machine.stopped(Error.WINDOW)
    assert session.read("SENTENCES_DONE") == records
    assert (session.sim.memory[session.result_base + records * session.record_bytes:] != 0xEE).sum() == host.PAGE   # behind the window: 0
    session.sim.writable((session.result_base, session.result_base + session.result_size))
    machine.recovers()


def test_start_without_load(machine):
    machine.session.queue(machine.sentences)
    machine.refuses(machine.session.run, Error.NOT_LOADED)


def test_start_after_a_refused_image(machine):
    machine.image(flipped(machine.program.image, 8 * 200))
    with pytest.raises(host.SessionError):
        machine.session.load()
    machine.session.reset()
    machine.refuses(machine.session.run, Error.NOT_LOADED)


def test_empty_queue(machine):
    machine.session.load()
    machine.session.queue([])
    machine.session.run()
    assert machine.session.read("STATUS") == 0b1010     # loaded, done


@pytest.mark.parametrize("offset", free_offsets()[:3])
def test_unknown_register(machine, offset):
    assert machine.sim.read_response(offset)[1] == DECERR
    assert machine.sim.write(offset, 1) == DECERR
    machine.exact(machine.sentences)


# Buses --------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("response", RESPONSES)
@pytest.mark.parametrize("place", ["header", "weights", "constants"])
def test_read_fault_of_a_load(machine, place, response):
    image = parse_image(machine.program.image)
    at = PAGE + {"header": 0, "weights": len(image.data) - 200, "constants": image.constants_offset}[place]
    machine.sim.fault(at, at + 4, response)
    machine.refuses(machine.session.load, RESPONSES[response])


@pytest.mark.parametrize("response", RESPONSES)
@pytest.mark.parametrize("place", ["instruction", "weights", "queue", "tokens"])
def test_read_fault_of_a_run(machine, place, response):
    session, image = machine.session, parse_image(machine.program.image)
    pc = find(image.data, Opcode.LINEAR)
    at = {"instruction": PAGE + image.program_offset + pc * isa.BYTES, "weights": PAGE + isa.unpack(image.program[pc], "address") + 64,
          "queue": session.input_base, "tokens": session.tokens_base}[place]
    session.load()
    session.queue(machine.sentences)
    machine.sim.fault(at, at + 4, response)
    where = {"instruction": 0, "weights": pc}.get(place, find(image.data, Opcode.ADMIT))
    machine.refuses(session.run, RESPONSES[response], where)


@pytest.mark.parametrize("response", RESPONSES)
@pytest.mark.parametrize("offset", [0, -4])
def test_write_fault(machine, offset, response):
    session = machine.session
    session.load()
    session.queue(machine.sentences)
    at = session.result_base + offset % session.record_bytes
    machine.sim.fault(at, at + 4, response, write=True)
    machine.refuses(session.run, Error.WRITE_ERROR)


@pytest.mark.parametrize("response", RESPONSES)
@pytest.mark.parametrize("place", ["header", "row table", "row"])
def test_embedding_fault(machine, place, response):
    embedding = parse_embedding(machine.program.embedding)
    row = int(machine.sentences[0][0][1])
    at = {"header": 8, "row table": HEADER_BYTES + 4 * row, "row": embedding.offsets[row]}[place]
    machine.sim.fault(at, at + 1, response, port=EMBEDDING)
    machine.refuses(machine.start, Error.EMBEDDING_BUS)


# Time ---------------------------------------------------------------------------------------------------------------

def silent(machine, port, action):
    """`action` until WATCHDOG, with a memory that does not answer; the machine stays busy until that has drained."""
    machine.sim.behave(port, stall=1.0)
    before = machine.sim.cycle
    with pytest.raises(host.SessionError):
        action()
    assert machine.sim.cycle - before < 2 * WATCHDOG + len(machine.program.image)
    machine.stopped(Error.WATCHDOG)
    machine.session.write("CONTROL", RESET)
    machine.sim.run(IRQ, 1000)
    assert machine.session.read("STATUS") == 1      # requests are on their way: busy
    machine.sim.behave(port)
    machine.recovers()


@pytest.mark.parametrize("port", [MAIN, EMBEDDING])
def test_silent_memory_in_a_load(machine, port):
    silent(machine, port, machine.session.load)


@pytest.mark.parametrize("port", [MAIN, EMBEDDING])
def test_silent_memory_in_a_run(machine, port):
    machine.session.load()
    machine.session.queue(machine.sentences)
    silent(machine, port, machine.session.run)


@pytest.mark.parametrize("cycle", range(1500, 12000, 1500))
def test_memory_falls_silent(machine, cycle):
    session = machine.session
    session.load()
    session.queue(machine.sentences)
    session.write("CONTROL", START)
    assert machine.sim.run(IRQ, cycle) in (LIMIT, IRQ)
    if session.read("STATUS") & 1:
        machine.sim.behave(MAIN, stall=1.0)
        assert machine.sim.run(IRQ, 20 * WATCHDOG) == IRQ
        machine.stopped(Error.WATCHDOG)
    machine.sim.behave(MAIN)
    machine.recovers()


@pytest.mark.parametrize("command", ["load", "run"])
def test_soft_reset_at_any_time(machine, command):
    session = machine.session
    for cycle in (1, 7, 30, 101, 350, 800, 1700, 3300, 5001, 7003):
        for port in (MAIN, EMBEDDING):
            machine.sim.behave(port, latency=20, stall=0.3, seed=cycle)
        if command == "run":
            session.load()
        session.queue(machine.sentences)
        session.write("CONTROL", START if command == "run" else 1)
        machine.sim.run(IRQ, cycle)
        session.reset()
        assert (session.read("STATUS"), session.read("ERROR")) == (0, 0)
    machine.recovers()


# Sentences ----------------------------------------------------------------------------------------------------------

def good(*lengths):
    generator = torch.Generator().manual_seed(sum(lengths))
    return [(torch.randint(0, BEFORE, (length,), generator=generator), torch.zeros(length, dtype=torch.int64)) for length in lengths]


def with_bad(bad, at):
    """Good sentences with a bad one among them."""
    sentences = good(3, 7, 2, 9)
    return [*sentences[:at], bad, *sentences[at:]]


def fails_alone(machine, bad, error, detail, at=1, embedding=None):
    records = machine.exact(with_bad(bad, at), {at: error}, embedding)
    assert (records[at].status, records[at].detail, records[at].tag) == (error, detail, at)
    assert machine.session.read("ERROR") == 0
    machine.restore()
    machine.exact(machine.sentences)


@pytest.mark.parametrize("at", [0, 1, 4])
def test_empty_sentence(machine, at):
    fails_alone(machine, sentence(), Error.SENTENCE_EMPTY, 0, at)


@pytest.mark.parametrize("at", [0, 4])
@pytest.mark.parametrize("length", [MODEL.positions + 1, 65535])
def test_long_sentence(machine, length, at):
    fails_alone(machine, sentence(*[1] * length), Error.SENTENCE_LENGTH, 0, at)


def test_length_of_more_than_16_bits(machine):
    machine.session.load()
    machine.session.queue(good(3))
    count = machine.session.input_base + 4
    machine.sim.memory[count:count + 4] = np.frombuffer(struct.pack("<I", 65536 + 3), np.uint8)
    machine.session.run()
    assert machine.session.results(1)[0].status == Error.SENTENCE_LENGTH


@pytest.mark.parametrize("token", [MODEL.vocabulary, 0x7FFFFFFF])
@pytest.mark.parametrize("place", [0, 3, 6])
def test_token(machine, token, place):
    tokens = [1, 2, 3, 4, 5, 6, 7]
    tokens[place] = token
    fails_alone(machine, sentence(*tokens), Error.SENTENCE_TOKEN, place, at=2)


@pytest.mark.parametrize("place", [0, 2, 4])
@pytest.mark.parametrize("byte", ["mask", "code", "check"])
def test_damaged_row(machine, byte, place):
    image = parse_embedding(machine.program.embedding)
    masks = bytearray(machine.program.embedding)[image.offsets[BAD]:][:2 * (image.width // 16)]
    codes = sum(mask.bit_count() for mask in masks)
    at = image.offsets[BAD] + {"mask": 0, "code": len(masks), "check": len(masks) + codes}[byte]
    tokens = [1, 2, 3, 4, 5]
    tokens[place] = BAD
    fails_alone(machine, sentence(*tokens), Error.SENTENCE_CHECK, place, embedding=flipped(image.data, 8 * at + 4))
    assert machine.session.read("EMBEDDING_ERRORS_LO") == 0     # of the good run that followed


@pytest.mark.parametrize("offset", ["behind", "top", "odd", "backwards", "row table"])
def test_row_outside(machine, offset):
    image = parse_embedding(machine.program.embedding)
    start = {"behind": len(image.data), "top": 0xFFFFFFF0, "odd": image.offsets[BAD] + 1, "backwards": image.offsets[BAD + 1] + 4,
             "row table": HEADER_BYTES}[offset]
    damaged = bytearray(image.data)
    struct.pack_into("<I", damaged, HEADER_BYTES + 4 * BAD, start)
    fails_alone(machine, sentence(1, 2, BAD), Error.SENTENCE_CHECK, 2, embedding=bytes(damaged))


def test_nothing_but_bad_sentences(machine):
    bad = [sentence(), sentence(99), sentence(), sentence(1, 2, 99), sentence(*[1] * 40)]
    status = dict(enumerate([Error.SENTENCE_EMPTY, Error.SENTENCE_TOKEN, Error.SENTENCE_EMPTY, Error.SENTENCE_TOKEN, Error.SENTENCE_LENGTH]))
    records = machine.exact(bad, status)
    assert [record.detail for record in records] == [0, 0, 0, 2, 0]
    machine.exact(machine.sentences)



// SPDX-License-Identifier: Apache-2.0
// The compiled co-simulation: clock loop and C interface around the model that Verilator makes of the accelerator.
//
// Python (sim/cosim/cosim.py) calls the functions below at most once per operation; every cycle runs here. "pins.inc" lists the ports.
#include <memory>

#include "Vtop.h"
#include "axi.h"
#include "verilated.h"
#ifdef WAVEFORM
#include "verilated_vcd_c.h"
#endif
#ifdef COVERAGE
#include "verilated_cov.h"
#endif

namespace {

struct Tap {  // everything one `trace_NAME` port showed while its valid was high
    Pin valid, value;
    std::vector<uint32_t> records;
    std::vector<uint64_t> cycles;
};

enum Reason { TAP = 1, IRQ = 2, LIMIT = 4 };

struct Simulation {
    VerilatedContext context;
    Vtop top{&context};
    Pins pins;
    Memory main, embedding;
    std::unique_ptr<ReadPort> read, embedding_read;
    std::unique_ptr<WritePort> write;
    std::unique_ptr<LiteMaster> lite;
    std::unique_ptr<DvfsPort> dvfs;
#ifdef WAVEFORM
    std::unique_ptr<VerilatedVcdC> waveform;
#endif
    std::vector<Tap> taps;
    Random random;
    Pin clk, drive, rst, irq;
    uint64_t cycle = 0;
    int stop_tap = -1;
    bool tap_fired = false;

    Simulation(uint64_t main_bytes, uint64_t embedding_bytes) {
#ifdef WAVEFORM
        context.traceEverOn(true);
        context.timeunit(-9);
        context.timeprecision(-9);
#endif
        pins.table = {
#include "pins.inc"
        };
        main.bytes.resize(main_bytes);
        embedding.bytes.resize(embedding_bytes);
        clk = pins.find("clk"); drive = pins.find("drive"); rst = pins.find("rst"); irq = pins.find("irq");
        read = std::make_unique<ReadPort>(main, pins, "m_axi");
        write = std::make_unique<WritePort>(main, pins, "m_axi");
        embedding_read = std::make_unique<ReadPort>(embedding, pins, "m_axi_emb");
        lite = std::make_unique<LiteMaster>(pins, "s_axil");
        dvfs = std::make_unique<DvfsPort>(pins);
        random.seed(1);
        top.eval();     // there is no edge at the first one
    }

    void record() {
        for (size_t i = 0; i < taps.size(); i++) {
            Tap &tap = taps[i];
            if (!tap.valid.get()) continue;
            size_t end = tap.records.size();
            tap.records.resize(end + tap.value.words());
            memcpy(&tap.records[end], tap.value.data, tap.value.bytes());
            tap.cycles.push_back(cycle);
            if (int(i) == stop_tap) tap_fired = true;
        }
    }

    void edge(int level) {
        clk.set(level); drive.set(!level);
        top.eval();
#ifdef WAVEFORM
        if (waveform) waveform->dump(10 * cycle + 5 * level);
#endif
    }

    void step() {
        lite->drive();
        dvfs->drive();
        read->drive(cycle, random);
        write->drive(cycle, random);
        embedding_read->drive(cycle, random);
        edge(0);
        if (!rst.get()) {
            lite->sample();
            dvfs->sample();
            read->sample(cycle);
            write->sample(cycle);
            embedding_read->sample(cycle);
            record();
        }
        edge(1);
        cycle++;
    }

    void reset() {
        read->clear(); write->clear(); embedding_read->clear();
        rst.set(1);
        for (int i = 0; i < 4; i++) step();
        rst.set(0);
    }

    uint32_t run(uint32_t reasons, uint64_t limit) {
        tap_fired = false;
        for (uint64_t i = 0; i < limit; i++) {
            step();
            uint32_t seen = (tap_fired ? TAP : 0) | (irq.get() ? IRQ : 0);
            if (seen & reasons) return seen & reasons;
        }
        return LIMIT;
    }

    int access(uint32_t *value) {  // finishes the AXI4-Lite access that was begun; -1 when the design does not answer
        for (int i = 0; i < 100000 && lite->busy; i++) step();
        if (lite->busy) return -1;
        if (value) *value = lite->value;
        return int(lite->response);
    }

    Memory &memory(uint32_t port) { return port ? embedding : main; }
};

}  // namespace

extern "C" {

Simulation *sim_create(uint64_t main_bytes, uint64_t embedding_bytes) { return new Simulation(main_bytes, embedding_bytes); }
void sim_destroy(Simulation *sim) { delete sim; }
void sim_reset(Simulation *sim) { sim->reset(); }
uint64_t sim_cycle(Simulation *sim) { return sim->cycle; }
uint32_t sim_run(Simulation *sim, uint32_t reasons, uint64_t limit) { return sim->run(reasons, limit); }
uint8_t *sim_memory(Simulation *sim, uint32_t port) { return sim->memory(port).bytes.data(); }
uint64_t sim_port(Simulation *sim, const char *name) { return sim->pins.find(name).get(); }
void sim_drive(Simulation *sim, const char *name, uint64_t value) { sim->pins.find(name).set(value); }
uint32_t sim_port_width(Simulation *sim, const char *name) { return uint32_t(sim->pins.find(name).width); }

void sim_behave(Simulation *sim, uint32_t port, uint32_t latency, double bytes_per_cycle, uint32_t stall, uint64_t seed,
                uint32_t bursts) {
    Memory &memory = sim->memory(port);
    memory.latency = latency; memory.bytes_per_cycle = bytes_per_cycle; memory.stall = stall; memory.bursts = bursts;
    sim->random.seed(seed);
}
void sim_fault(Simulation *sim, uint32_t port, uint64_t low, uint64_t high, uint32_t response, uint32_t write) {
    sim->memory(port).faults.push_back({low, high, response, write != 0});
}
void sim_clear_faults(Simulation *sim) { sim->main.faults.clear(); sim->embedding.faults.clear(); }
void sim_writable(Simulation *sim, uint64_t low, uint64_t high) { sim->main.writable.push_back({low, high}); }
void sim_clear_writable(Simulation *sim) { sim->main.writable.clear(); }
uint64_t sim_bytes(Simulation *sim, uint32_t port, uint32_t write) {
    return write ? sim->memory(port).bytes_written : sim->memory(port).bytes_read;
}
const char *sim_violation(Simulation *sim, uint32_t port, uint32_t index) {
    auto &list = sim->memory(port).violations;
    return index < list.size() ? list[index].c_str() : nullptr;
}

int sim_write_register(Simulation *sim, uint32_t address, uint32_t value) {
    sim->lite->write(address, value);
    return sim->access(nullptr);
}
int sim_read_register(Simulation *sim, uint32_t address, uint32_t *value) {
    sim->lite->read(address);
    return sim->access(value);
}

int sim_tap(Simulation *sim, const char *name) {
    Pin valid = sim->pins.find(std::string(name) + "_valid"), value = sim->pins.find(name);
    if (!valid.width || !value.width) return -1;
    sim->taps.push_back({valid, value, {}, {}});
    return int(sim->taps.size()) - 1;
}
void sim_stop_tap(Simulation *sim, int index) { sim->stop_tap = index; }
uint64_t sim_tap_count(Simulation *sim, uint32_t index) { return sim->taps[index].cycles.size(); }
const uint32_t *sim_tap_records(Simulation *sim, uint32_t index) { return sim->taps[index].records.data(); }
const uint64_t *sim_tap_cycles(Simulation *sim, uint32_t index) { return sim->taps[index].cycles.data(); }
void sim_tap_clear(Simulation *sim) {
    for (auto &tap : sim->taps) { tap.records.clear(); tap.cycles.clear(); }
}

int sim_trace(Simulation *sim, const char *path) {  // null closes the waveform; -1: not possible
#ifdef WAVEFORM
    if (sim->waveform) sim->waveform->close();
    sim->waveform.reset();
    if (!path) return 0;
    sim->waveform = std::make_unique<VerilatedVcdC>();
    sim->top.trace(sim->waveform.get(), 99);
    sim->waveform->open(path);
    return sim->waveform->isOpen() ? 0 : -1;
#else
    return path ? -1 : 0;
#endif
}

int sim_coverage(Simulation *sim, const char *path) {  // -1: not possible
#ifdef COVERAGE
    sim->context.coveragep()->write(path);
    return 0;
#else
    return -1;
#endif
}

}  // extern "C"

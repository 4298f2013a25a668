// SPDX-License-Identifier: Apache-2.0
// AXI models of the compiled co-simulation: byte memory, AXI4 read and write ports, an AXI4-Lite master, the dvfs port.
//
// Every model has `drive`, called before the combinational logic settles (sets what the design sees), and `sample`,
// called after it has settled (takes the handshakes that the clock edge will complete). READ_BURSTS and WRITE_BURSTS, the
// bursts that a port has taken and not finished, come from sim/cosim/memory.py: the cycle model reckons with them too.
#pragma once
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <deque>
#include <map>
#include <string>
#include <vector>

struct Pin {  // a port of the design, as Verilator stores it; absent pins read 0 and ignore writes
    void *data = nullptr;
    size_t width = 0;

    size_t words() const { return (width + 31) / 32; }
    size_t bytes() const { return width <= 8 ? 1 : width <= 16 ? 2 : width <= 32 ? 4 : 4 * words(); }
    uint64_t get() const {
        uint64_t value = 0;
        if (data) memcpy(&value, data, std::min<size_t>(bytes(), 8));
        return value;
    }
    void set(uint64_t value) const {
        if (width < 64) value &= (uint64_t(1) << width) - 1;
        if (data) memcpy(data, &value, std::min<size_t>(bytes(), 8));
    }
};

struct Pins {
    std::map<std::string, Pin> table;

    Pin find(const std::string &name) const {
        auto found = table.find(name);
        return found == table.end() ? Pin{} : found->second;
    }
    Pin member(const std::string &bus, const std::string &name) const { return find(bus + "_" + name); }
};

struct Random {  // xorshift64*; the same stalls from the same seed
    uint64_t state = 1;
    void seed(uint64_t value) { state = value * 0x9E3779B97F4A7C15ull + 0xD1B54A32D192ED03ull; if (!state) state = 1; }
    bool chance(uint32_t of_256) {
        if (!of_256) return false;
        state ^= state >> 12; state ^= state << 25; state ^= state >> 27;
        return ((state * 0x2545F4914F6CDD1Dull) >> 56) < of_256;
    }
};

struct Fault { uint64_t low, high; uint32_t response; bool write; };
struct Window { uint64_t low, high; };

struct Memory {  // bytes behind one AXI port and how it behaves
    std::vector<uint8_t> bytes;
    uint32_t latency = 8, stall = 0, bursts = READ_BURSTS;  // bursts: of reads at a time
    double bytes_per_cycle = 1e9;
    std::vector<Fault> faults;
    std::vector<Window> writable;  // empty: everything
    uint64_t bytes_read = 0, bytes_written = 0;
    std::vector<std::string> violations;

    void violation(const std::string &text) { if (violations.size() < 16) violations.push_back(text); }
    uint32_t response(uint64_t address, uint32_t size, bool write) const {
        for (const auto &fault : faults)
            if (fault.write == write && address < fault.high && address + size > fault.low) return fault.response;
        return address + size <= bytes.size() ? 0 : 3;
    }
};

struct Burst { uint64_t address, id; uint32_t beats, done; uint64_t ready_at; uint32_t response; };

// Reports payloads that change, or valids that fall, while the receiver is not ready.
struct Holder {
    bool waiting = false;
    std::vector<uint8_t> held;

    void check(Memory &memory, const char *channel, bool valid, bool ready, const std::vector<Pin> &payload) {
        std::vector<uint8_t> now;
        for (const auto &pin : payload)
            if (valid && pin.data) now.insert(now.end(), (uint8_t *)pin.data, (uint8_t *)pin.data + pin.bytes());
        if (waiting && (!valid || now != held)) memory.violation(std::string(channel) + " changed before it was accepted");
        waiting = valid && !ready;
        if (waiting) held = std::move(now);
    }
};

inline Burst accept(Memory &memory, const char *channel, uint64_t address, const Pin &len, const Pin &size, const Pin &id,
                    uint32_t bus, uint64_t now) {
    uint32_t beats = uint32_t(len.get()) + 1;
    if (address % bus) memory.violation(std::string(channel) + " address is not aligned: " + std::to_string(address));
    if (address / 4096 != (address + uint64_t(beats) * bus - 1) / 4096)
        memory.violation(std::string(channel) + " burst crosses 4 KiB at " + std::to_string(address));
    if (size.width && (1u << size.get()) != bus) memory.violation(std::string(channel) + " size is not the bus width");
    return {address, id.get(), beats, 0, now + memory.latency, 0};
}

struct ReadPort {
    Memory &memory;
    Pin arvalid, arready, araddr, arlen, arsize, arid, rvalid, rready, rdata, rresp, rlast, rid;
    uint32_t bus = 0;
    std::deque<Burst> bursts;
    double credit = 0;
    bool offering = false;
    Holder holder;

    ReadPort(Memory &memory, const Pins &pins, const std::string &name) : memory(memory) {
        auto pin = [&](const char *member) { return pins.member(name, member); };
        arvalid = pin("arvalid"); arready = pin("arready"); araddr = pin("araddr"); arlen = pin("arlen");
        arsize = pin("arsize"); arid = pin("arid"); rvalid = pin("rvalid"); rready = pin("rready");
        rdata = pin("rdata"); rresp = pin("rresp"); rlast = pin("rlast"); rid = pin("rid");
        bus = uint32_t(rdata.width / 8);
    }
    void drive(uint64_t now, Random &random) {
        if (!bus) return;
        credit = std::min(credit, double(bus)) + memory.bytes_per_cycle;
        arready.set(bursts.size() < memory.bursts && !random.chance(memory.stall));
        if (!offering && !bursts.empty() && bursts[0].ready_at <= now && credit >= bus && !random.chance(memory.stall)) {
            Burst &burst = bursts[0];
            uint64_t address = burst.address + uint64_t(burst.done) * bus;
            uint32_t response = memory.response(address, bus, false);
            if (response) memset(rdata.data, 0xA5, bus);
            else memcpy(rdata.data, &memory.bytes[address], bus);
            rresp.set(response); rid.set(burst.id); rlast.set(burst.done + 1 == burst.beats);
            offering = true;
            credit -= bus;
        }
        rvalid.set(offering);
    }
    void sample(uint64_t now) {
        if (!bus) return;
        holder.check(memory, "AR", arvalid.get(), arready.get(), {araddr, arlen, arsize, arid});
        if (arvalid.get() && arready.get()) bursts.push_back(accept(memory, "AR", araddr.get(), arlen, arsize, arid, bus, now));
        if (offering && rready.get()) {
            memory.bytes_read += bus;
            offering = false;
            if (++bursts[0].done == bursts[0].beats) bursts.pop_front();
        }
    }
    void clear() { bursts.clear(); offering = false; holder = {}; }
};

struct WritePort {
    Memory &memory;
    Pin awvalid, awready, awaddr, awlen, awsize, awid, wvalid, wready, wdata, wstrb, wlast, bvalid, bready, bresp, bid;
    uint32_t bus = 0;
    std::deque<Burst> bursts, answers;
    double credit = 0;
    bool offering = false;
    Holder aw_holder, w_holder;

    WritePort(Memory &memory, const Pins &pins, const std::string &name) : memory(memory) {
        auto pin = [&](const char *member) { return pins.member(name, member); };
        awvalid = pin("awvalid"); awready = pin("awready"); awaddr = pin("awaddr"); awlen = pin("awlen");
        awsize = pin("awsize"); awid = pin("awid"); wvalid = pin("wvalid"); wready = pin("wready"); wdata = pin("wdata");
        wstrb = pin("wstrb"); wlast = pin("wlast"); bvalid = pin("bvalid"); bready = pin("bready"); bresp = pin("bresp");
        bid = pin("bid");
        bus = uint32_t(wdata.width / 8);
    }
    void drive(uint64_t now, Random &random) {
        if (!bus) return;
        credit = std::min(credit, double(bus)) + memory.bytes_per_cycle;
        awready.set(bursts.size() < WRITE_BURSTS && !random.chance(memory.stall));
        wready.set(!bursts.empty() && credit >= bus && !random.chance(memory.stall));
        if (!offering && !answers.empty() && answers[0].ready_at <= now && !random.chance(memory.stall)) {
            bresp.set(answers[0].response); bid.set(answers[0].id);
            offering = true;
        }
        bvalid.set(offering);
    }
    void sample(uint64_t now) {
        if (!bus) return;
        aw_holder.check(memory, "AW", awvalid.get(), awready.get(), {awaddr, awlen, awsize, awid});
        w_holder.check(memory, "W", wvalid.get(), wready.get(), {wdata, wstrb, wlast});
        bool beat = wvalid.get() && wready.get();
        if (awvalid.get() && awready.get()) bursts.push_back(accept(memory, "AW", awaddr.get(), awlen, awsize, awid, bus, now));
        if (beat) store(bursts[0], now);
        if (offering && bready.get()) { answers.pop_front(); offering = false; }
    }
    void store(Burst &burst, uint64_t now) {
        uint64_t address = burst.address + uint64_t(burst.done++) * bus, strobe = wstrb.get();
        uint32_t response = memory.response(address, bus, true);
        bool inside = memory.writable.empty();
        for (const auto &window : memory.writable) inside |= address >= window.low && address + bus <= window.high;
        if (!inside) memory.violation("write outside its window at " + std::to_string(address));
        auto data = static_cast<const uint8_t *>(wdata.data);
        for (uint32_t i = 0; i < bus && !response; i++)
            if (strobe >> i & 1) memory.bytes[address + i] = data[i];
        burst.response = std::max(burst.response, response);
        credit -= bus;
        memory.bytes_written += bus;
        bool last = burst.done == burst.beats;
        if (bool(wlast.get()) != last) memory.violation("WLAST is wrong at " + std::to_string(address));
        if (!last) return;
        burst.ready_at = now + memory.latency;
        answers.push_back(burst);
        bursts.pop_front();
    }
    void clear() { bursts.clear(); answers.clear(); offering = false; aw_holder = w_holder = {}; }
};

struct LiteMaster {  // one AXI4-Lite access at a time
    Pin awvalid, awready, awaddr, wvalid, wready, wdata, wstrb, bvalid, bready, bresp;
    Pin arvalid, arready, araddr, rvalid, rready, rdata, rresp;
    bool address = false, data = false, busy = false;
    uint32_t value = 0, response = 0;

    LiteMaster(const Pins &pins, const std::string &name) {
        auto pin = [&](const char *member) { return pins.member(name, member); };
        awvalid = pin("awvalid"); awready = pin("awready"); awaddr = pin("awaddr"); wvalid = pin("wvalid");
        wready = pin("wready"); wdata = pin("wdata"); wstrb = pin("wstrb"); bvalid = pin("bvalid"); bready = pin("bready");
        bresp = pin("bresp"); arvalid = pin("arvalid"); arready = pin("arready"); araddr = pin("araddr");
        rvalid = pin("rvalid"); rready = pin("rready"); rdata = pin("rdata"); rresp = pin("rresp");
    }
    void write(uint32_t at, uint32_t what) {
        awaddr.set(at); wdata.set(what); wstrb.set(15); awvalid.set(1); wvalid.set(1); bready.set(1);
        busy = true;
    }
    void read(uint32_t at) { araddr.set(at); arvalid.set(1); rready.set(1); busy = true; }
    void sample() {  // before the clock edge: note what it completes
        if (!busy) return;
        address = (awvalid.get() && awready.get()) || (arvalid.get() && arready.get());
        data = wvalid.get() && wready.get();
        if (bvalid.get() && bready.get()) { response = uint32_t(bresp.get()); busy = false; }
        if (rvalid.get() && rready.get()) { response = uint32_t(rresp.get()); value = uint32_t(rdata.get()); busy = false; }
    }
    void drive() {  // after the clock edge
        if (address) { awvalid.set(0); arvalid.set(0); address = false; }
        if (data) { wvalid.set(0); data = false; }
        if (!busy) { bready.set(0); rready.set(0); }
    }
};

struct DvfsPort {  // a regulator that takes some cycles for every change
    static constexpr uint32_t DELAY = 100;
    Pin request, acknowledge;
    uint32_t waited = 0;

    explicit DvfsPort(const Pins &pins) {
        request = pins.member("dvfs", "request");
        acknowledge = pins.member("dvfs", "acknowledge");
    }
    void drive() { acknowledge.set(request.get() && waited >= DELAY); }
    void sample() { waited = request.get() ? waited + 1 : 0; }
};

// The native engine's main loop: drives a generated top over whole frames, without a word of Python a cycle.
//
//   top IN LENGTHS STALLS OUT BYTES WORDS PATIENCE [+verilator+...]
//
//   IN      [beats][BYTES], the input beats, the lowest byte of each first
//   LENGTHS uint32 [FRAMES], the beats of each frame, which an output frame answers
//   STALLS  one byte a cycle since reset, repeated: bit 0 the source may begin to offer, bit 1 the sink takes; an empty
//           file: both always. An offered beat stays. Until the top has once held valid, a stalling sink refuses.
//   OUT     FRAMES x { uint64 first beat in, last beat in, first word out, last word out; uint32 word [WORDS] }
//           in cycles since reset, the cycle in which the beat is accepted
//   stdout  "done <frames>" now and then; at the end "end <cycles> <error> <processor seconds>" and the counters' words;
//           the error is frame_error, of events time_error
//
// Exit code 1 and a line on stderr where the top hangs, gives more than it should, or sets tlast elsewhere.
#include <bit>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <memory>
#include <numeric>
#include <string>
#include <type_traits>
#include <vector>

#include "Vtop.h"
#include "verilated.h"

namespace {

constexpr int RESET_CYCLES = 4;
constexpr std::uint64_t QUIET_CYCLES = 16;  // after the last beat in and the last word out: nothing more may come

struct Frame {
    std::uint64_t in_first, in_last, out_first, out_last;
};

[[noreturn]] void fail(const std::string& message) {
    std::fprintf(stderr, "Error: %s\n", message.c_str());
    std::exit(1);
}

template <typename T>
std::vector<T> read_all(const char* path) {
    std::FILE* file = std::fopen(path, "rb");
    if (!file) fail(std::string("cannot read ") + path);
    std::fseek(file, 0, SEEK_END);
    std::vector<T> values(static_cast<std::size_t>(std::ftell(file)) / sizeof(T));
    std::rewind(file);
    if (std::fread(values.data(), sizeof(T), values.size(), file) != values.size()) fail(std::string("cannot read ") + path);
    std::fclose(file);
    return values;
}

// Sets a port of whole bytes, of whatever width, to `bytes`, the lowest first.
template <typename Port>
void set(Port& port, const std::uint8_t* bytes, std::size_t count) {
    const std::size_t held = count <= sizeof(QData) ? std::bit_ceil(count) : (count + 3) / 4 * 4;  // as Verilator does
    if (sizeof(Port) != held) fail("a beat of IN has " + std::to_string(count) + " bytes, s_axis_tdata others");
    if constexpr (std::is_integral_v<Port>) {
        std::uint64_t value = 0;
        for (std::size_t i = 0; i < count; ++i) value |= std::uint64_t{bytes[i]} << 8 * i;
        port = static_cast<Port>(value);
    } else {
        constexpr std::size_t WORD = sizeof(EData);
        for (std::size_t word = 0; word < sizeof(Port) / WORD; ++word) port[word] = 0;
        for (std::size_t i = 0; i < count; ++i) port[i / WORD] |= EData{bytes[i]} << 8 * (i % WORD);
    }
}

// The words of the port `counters`, where the top has one.
template <typename Top>
void print_counters(const Top& top) {
    if constexpr (requires { top.counters; }) {
        for (std::size_t i = 0; i < sizeof(top.counters) / sizeof(EData); ++i) std::printf(" %u", top.counters[i]);
    }
}

template <typename Top>
int error(const Top& top) {
    if constexpr (requires { top.time_error; }) return top.time_error;
    else return top.frame_error;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc < 8) fail("arguments: IN LENGTHS STALLS OUT BYTES WORDS PATIENCE");
    const auto in = read_all<std::uint8_t>(argv[1]);
    const auto lengths = read_all<std::uint32_t>(argv[2]);
    const auto stalls = read_all<std::uint8_t>(argv[3]);
    const std::uint64_t frames = lengths.size(), bytes = std::strtoull(argv[5], nullptr, 10);
    const std::uint64_t words = std::strtoull(argv[6], nullptr, 10), patience = std::strtoull(argv[7], nullptr, 10);
    const std::uint64_t beats = std::accumulate(lengths.begin(), lengths.end(), std::uint64_t{0});
    if (in.size() != beats * bytes) fail("IN does not hold the beats of LENGTHS");

    VerilatedContext context;
    context.commandArgs(argc, argv);
    const auto top = std::make_unique<Vtop>(&context, "top");
    const auto settle = [&] {  // the ports as they stand before the clock edge
        top->clk = 0;
        top->eval();
    };
    const auto edge = [&] {
        top->clk = 1;
        top->eval();
    };
    top->rst_n = 0;
    top->s_axis_tvalid = 0;
    top->m_axis_tready = 0;
    for (int i = 0; i < RESET_CYCLES; ++i) {
        settle();
        edge();
    }
    top->rst_n = 1;

    std::vector<Frame> at(frames);
    std::vector<std::uint32_t> given;
    given.reserve(frames * words);
    const std::uint64_t expected = frames * words;
    std::uint64_t now = 0, taken = 0, moved = 0, place = 0;  // place: now modulo the length of the stalls
    std::uint64_t frame_in = 0, beat_in = 0, frame_out = 0, word_out = 0, quiet = 0;
    bool offering = false, seen_valid = stalls.empty();
    const std::clock_t start = std::clock();
    auto told = std::chrono::steady_clock::now();

    for (; quiet < QUIET_CYCLES; ++now) {
        std::uint8_t open = 3;
        if (!stalls.empty()) {
            open = stalls[place];
            if (++place == stalls.size()) place = 0;
        }
        if (!offering && taken < beats && (open & 1)) {
            offering = true;
            top->s_axis_tvalid = 1;
            set(top->s_axis_tdata, &in[taken * bytes], bytes);
            top->s_axis_tlast = beat_in + 1 == lengths[frame_in];
        }
        top->m_axis_tready = seen_valid && (open & 2);
        settle();
        const bool accepted = offering && top->s_axis_tready;
        if (accepted) {
            if (beat_in == 0) at[frame_in].in_first = now;
            if (++beat_in == lengths[frame_in]) {
                at[frame_in++].in_last = now;
                beat_in = 0;
            }
            ++taken;
            moved = now;
        }
        const bool answered = given.size() == expected;  // a map's last rows may come in after that: no window needs them
        const bool complete = answered && taken == beats;
        if (complete) ++quiet;
        if (answered && top->m_axis_tvalid) fail("more output words than expected");
        if (top->m_axis_tvalid && top->m_axis_tready) {
            if (word_out == 0) at[frame_out].out_first = now;
            given.push_back(top->m_axis_tdata);
            const bool last = ++word_out == words;
            if (last != bool(top->m_axis_tlast)) {
                fail("tlast is " + std::to_string(top->m_axis_tlast) + " at word " + std::to_string(word_out) + " of "
                     + std::to_string(words) + " of output frame " + std::to_string(frame_out));
            }
            if (last) {
                at[frame_out++].out_last = now;
                word_out = 0;
                if (const auto time = std::chrono::steady_clock::now(); time - told > std::chrono::milliseconds(100)) {
                    told = time;
                    std::printf("done %llu\n", static_cast<unsigned long long>(frame_out));
                    std::fflush(stdout);
                }
            }
            moved = now;
        }
        seen_valid = seen_valid || top->m_axis_tvalid;
        if (!complete && now - moved >= patience) {
            fail("no beat moved for " + std::to_string(patience) + " cycles (in: " + std::to_string(taken) + " of "
                 + std::to_string(beats) + " beats, out: " + std::to_string(given.size()) + " of "
                 + std::to_string(expected) + " words)");
        }
        edge();
        if (accepted) {
            offering = false;
            top->s_axis_tvalid = 0;
        }
    }
    const double seconds = static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
    settle();

    std::FILE* out = std::fopen(argv[4], "wb");
    if (!out) fail(std::string("cannot write ") + argv[4]);
    for (std::uint64_t i = 0; i < frames; ++i) {
        std::fwrite(&at[i], sizeof(Frame), 1, out);
        std::fwrite(&given[i * words], sizeof(std::uint32_t), words, out);
    }
    if (std::fclose(out)) fail(std::string("cannot write ") + argv[4]);
    std::printf("end %llu %d %.6f", static_cast<unsigned long long>(now), error(*top), seconds);
    print_counters(*top);
    std::printf("\n");
    return 0;
}

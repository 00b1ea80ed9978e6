// Batch normalisation, mask, multi-step LIF neuron and OR-pooling in one pass over channels-last maps, and its gradient.
//
// Called by fused.py, which holds the law and allocates every array. Plain C interface: no header of torch is needed, so
// that this compiles in seconds. Membranes are not stored: backward computes them again from the convolution's output.
// Every sum is formed in an order that does not depend on the number of threads.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <vector>

namespace {

constexpr int LANES = 16;
typedef float Floats __attribute__((vector_size(LANES * 4)));
typedef int32_t Ints __attribute__((vector_size(LANES * 4)));
typedef uint32_t Words __attribute__((vector_size(LANES * 4)));
typedef uint16_t Halves __attribute__((vector_size(LANES * 2)));
typedef uint16_t Bf16;

inline Floats fill(float x) { return Floats{} + x; }
inline Floats pick(Ints where, Floats yes) { return (Floats)(where & (Ints)yes); }

// The first n lanes of a row; the others are 0.
template <class V, class T> inline V lanes(const T *from, int n) {
    V v{};
    if (n == LANES) std::memcpy(&v, from, sizeof v);
    else std::memcpy(&v, from, n * sizeof(T));
    return v;
}
inline Floats load(const float *from, int n) { return lanes<Floats>(from, n); }
inline Floats load(const Bf16 *from, int n) {
    return (Floats)(__builtin_convertvector(lanes<Halves>(from, n), Words) << 16);
}

template <class V, class T> inline void put(T *to, V v, int n) {
    if (n == LANES) std::memcpy(to, &v, sizeof v);
    else std::memcpy(to, &v, n * sizeof(T));
}
inline void store(float *to, Floats v, int n) { put(to, v, n); }
inline void store(Bf16 *to, Floats v, int n) {  // to the nearest, half to even
    Words w = (Words)v;
    w += 0x7fff + ((w >> 16) & 1);
    put(to, __builtin_convertvector(w >> 16, Halves), n);
}

// Calls work(c, lanes) for all channels; whole and half vectors have their width as a constant, which the compiler uses.
template <class Work> inline void across(int channels, Work work) {
    int c = 0;
    for (; c + LANES <= channels; c += LANES) work(c, std::integral_constant<int, LANES>{});
    if (channels - c == LANES / 2) work(c, std::integral_constant<int, LANES / 2>{});
    else if (c < channels) work(c, channels - c);
}

// The sums of a task, [C] each, gathered in single precision over a few terms and then kept in double.
inline void flush(std::vector<Floats> &sums, double *to, int channels) {
    const float *from = reinterpret_cast<const float *>(sums.data());
    for (int c = 0; c < channels; ++c) to[c] += from[c];
    std::fill(sums.begin(), sums.end(), Floats{});
}

inline Floats exp_of_negative(Floats x) {  // relative error below 2^-22
    x = x * 1.44269504088896341f;
    x = x < -125.0f ? fill(-125.0f) : x;
    const float magic = 12582912.0f;  // 1.5 * 2^23: adding it rounds to a whole number
    const Floats n = (x + magic) - magic, r = (x - n) * 0.693147180559945309f;
    Floats p = fill(1.9875691500e-4f);  // Cephes' expf
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + r + 1.0f;
    return p * (Floats)((__builtin_convertvector(n, Ints) + 127) << 23);
}

}  // namespace

// The fields are those of fused.py's _Shape, in its order.
struct Shape {
    int64_t threads, images, steps, height, width, channels, pool;
    int64_t constant;  // the current of step 0 serves all steps
    int64_t soft;      // reset by subtraction
    int64_t delayed;   // and that behind the leak of the next step
    int64_t arctan;    // surrogate; else sigmoid
    float keep;        // what the leak leaves of a membrane
    float v_reset;     // where a hard reset puts one
    float slope;

    int64_t pixels() const { return height * width; }
    int64_t rows() const { return images * (constant ? 1 : steps); }
};

namespace {

// Membrane u behind its reset, and what the step after finds of it.
inline Floats reset(Floats u, Ints fired, const Shape &s) {
    return s.soft ? u - pick(fired, fill(1.0f)) : fired ? fill(s.v_reset) : u;
}
inline Floats remains(Floats u, Ints fired, const Shape &s) {
    return s.delayed ? u * s.keep - pick(fired, fill(1.0f)) : reset(u, fired, s) * s.keep;
}

inline Floats surrogate(Floats u, const Shape &s) {
    Floats x = (u - 1.0f) * s.slope;
    if (s.arctan) {
        x = x * 1.57079632679489662f;
        return s.slope / 2 / (1.0f + x * x);
    }
    Floats e = exp_of_negative((Floats)((Ints)x | INT32_MIN));  // the derivative is even
    return s.slope * e / ((1.0f + e) * (1.0f + e));
}

// One task is one image: its membranes live in registers, pixel by pixel.
template <int POOL, class In, class Out>
void fire(const Shape &s, int64_t image, const In *z, const float *gain, const float *offset, Out *spikes,
          double *activity) {
    const int pool = POOL ? POOL : s.pool, C = s.channels, T = s.steps;
    const int64_t high = s.height / pool, wide = s.width / pool;
    const int64_t in_step = s.constant ? 0 : s.images * s.pixels() * C, out_step = s.images * high * wide * C;
    z += image * s.pixels() * C;
    spikes += image * high * wide * C;
    std::vector<Floats> sums((C + LANES - 1) / LANES), counts(sums.size());
    std::vector<Ints> any(T);
    const int64_t rows = activity ? s.height : high * pool, columns = activity ? s.width : wide * pool;
    for (int64_t top = 0; top < rows; top += pool) {
        for (int64_t left = 0; left < columns; left += pool) {
            const bool whole = top + pool <= s.height && left + pool <= s.width;
            across(C, [&](int c, auto n) {
                const Floats a = load(gain + c, n), b = load(offset + c, n);
                Floats sum = sums[c / LANES];
                for (int64_t y = top; y < std::min(top + pool, s.height); ++y)
                    for (int64_t x = left; x < std::min(left + pool, s.width); ++x) {
                        const In *from = z + (y * s.width + x) * C + c;
                        Floats rest{};
                        for (int t = 0; t < T; ++t) {
                            const Floats u = rest + (load(from + t * in_step, n) * a + b);
                            const Ints fired = u >= 1.0f;
                            rest = remains(u, fired, s);
                            if (activity)
                                sum += pick(fired, fill(1.0f)) + (Floats)((Ints)reset(u, fired, s) & INT32_MAX);
                            if (pool == 1)
                                store(spikes + t * out_step + (y * wide + x) * C + c, pick(fired, fill(1.0f)), n);
                            else if (y == top && x == left) any[t] = fired;
                            else any[t] |= fired;
                        }
                    }
                sums[c / LANES] = sum;
                if (pool > 1 && whole)
                    for (int t = 0; t < T; ++t)
                        store(spikes + t * out_step + ((top / pool) * wide + left / pool) * C + c,
                              pick(any[t], fill(1.0f)), n);
            });
        }
        if (activity) flush(sums, activity + image * C, C);
    }
}

// The gradient at the output of the batch normalisation, and its sums per channel, alone and times xhat.
template <int POOL, class In, class Out>
void fire_gradient(const Shape &s, int64_t image, const In *z, const float *gain, const float *offset,
                   const float *mean, const float *inverse, const Out *upstream, In *grad, double *sum,
                   double *product) {
    const int pool = POOL ? POOL : s.pool, C = s.channels, T = s.steps;
    const int64_t high = s.height / pool, wide = s.width / pool;
    const int64_t in_step = s.constant ? 0 : s.images * s.pixels() * C, out_step = s.images * high * wide * C;
    z += image * s.pixels() * C;
    grad += image * s.pixels() * C;
    upstream += image * high * wide * C;
    std::vector<Floats> sums((C + LANES - 1) / LANES), products(sums.size());
    std::vector<Floats> membranes(pool * pool * T), received(T);
    std::vector<Ints> winner(T);  // the pixel of a window that its gradient goes to
    for (int64_t top = 0; top < s.height; top += pool) {
        for (int64_t left = 0; left < s.width; left += pool) {
            if (top + pool > s.height || left + pool > s.width) {  // beyond the last window: no gradient
                for (int64_t y = top; y < std::min(top + pool, s.height); ++y)
                    for (int64_t x = left; x < std::min(left + pool, s.width); ++x)
                        for (int64_t t = 0; t < (s.constant ? 1 : T); ++t)
                            std::fill_n(grad + t * in_step + (y * s.width + x) * C, C, In{});
                continue;
            }
            across(C, [&](int c, auto n) {
                const Floats a = load(gain + c, n), b = load(offset + c, n);
                const Floats centre = load(mean + c, n), unit = load(inverse + c, n);
                for (int i = 0; i < pool * pool; ++i) {
                    const In *from = z + ((top + i / pool) * s.width + left + i % pool) * C + c;
                    Floats rest{};
                    for (int t = 0; t < T; ++t) {
                        const Floats u = rest + (load(from + t * in_step, n) * a + b);
                        rest = remains(u, u >= 1.0f, s);
                        membranes[i * T + t] = u;
                    }
                }
                // A pool passes its gradient to the first pixel that fired, or, if none did, to the first of all.
                const Out *above = upstream + ((top / pool) * wide + left / pool) * C + c;
                for (int t = 0; t < T; ++t) {
                    Floats u = membranes[t];
                    Ints taken = u >= 1.0f, first{};
                    for (int i = 1; i < pool * pool; ++i) {
                        const Floats other = membranes[i * T + t];
                        const Ints mine = (other >= 1.0f) & ~taken;
                        u = mine ? other : u;
                        first = mine ? Ints{} + i : first;
                        taken |= mine;
                    }
                    winner[t] = first;
                    received[t] = load(above + t * out_step, n) * surrogate(u, s);
                }
                Floats sum_c = sums[c / LANES], product_c = products[c / LANES];
                for (int i = 0; i < pool * pool; ++i) {
                    const int64_t at = ((top + i / pool) * s.width + left + i % pool) * C + c;
                    Floats after{}, total{};
                    for (int t = T - 1; t >= 0; --t) {
                        const Ints fired = membranes[i * T + t] >= 1.0f;
                        Floats g = pool > 1 ? pick(winner[t] == i, received[t]) : received[t];
                        g += s.soft ? after : pick(~fired, after);
                        after = g * s.keep;
                        if (s.constant) total += g;
                        else {
                            store(grad + t * in_step + at, g, n);
                            sum_c += g;
                            product_c += g * ((load(z + t * in_step + at, n) - centre) * unit);
                        }
                    }
                    if (s.constant) {
                        store(grad + at, total, n);
                        sum_c += total;
                        product_c += total * ((load(z + at, n) - centre) * unit);
                    }
                }
                sums[c / LANES] = sum_c;
                products[c / LANES] = product_c;
            });
        }
        flush(sums, sum + image * C, C);
        flush(products, product + image * C, C);
    }
}

constexpr int64_t PIECE = 128;  // rows summed in single precision

template <class In>
void moments(const Shape &s, int64_t row, const In *z, const float *centre, double *sum, double *square) {
    const int C = s.channels;
    std::vector<Floats> sums((C + LANES - 1) / LANES), squares(sums.size());
    z += row * s.pixels() * C;
    for (int64_t first = 0; first < s.pixels(); first += PIECE) {
        const int64_t end = std::min(first + PIECE, s.pixels());
        across(C, [&](int c, auto n) {
            const Floats k = load(centre + c, n);
            Floats one{}, two{};
            for (int64_t p = first; p < end; ++p) {
                const Floats d = load(z + p * C + c, n) - k;
                one += d;
                two += d * d;
            }
            sums[c / LANES] = one;
            squares[c / LANES] = two;
        });
        flush(sums, sum + row * C, C);
        flush(squares, square + row * C, C);
    }
}

template <class In>
void input_gradient(const Shape &s, int64_t row, const In *z, const float *gain, const float *mean,
                    const float *constant, const float *linear, In *grad) {
    const int C = s.channels;
    const int64_t start = row * s.pixels() * C;
    for (int64_t p = 0; p < s.pixels(); ++p)
        across(C, [&](int c, auto n) {
            const int64_t at = start + p * C + c;
            const Floats g = load(grad + at, n) - load(constant + c, n) -
                             (load(z + at, n) - load(mean + c, n)) * load(linear + c, n);
            store(grad + at, g * load(gain + c, n), n);
        });
}

// sums of [tasks, C] -> [C], in the order of the tasks
void add_up(const double *parts, int64_t tasks, int64_t channels, double *total) {
    std::fill_n(total, channels, 0.0);
    for (int64_t i = 0; i < tasks; ++i)
        for (int64_t c = 0; c < channels; ++c) total[c] += parts[i * channels + c];
}

template <class Work> void each(int64_t threads, int64_t tasks, Work work) {
#pragma omp parallel for num_threads(threads) schedule(dynamic)
    for (int64_t i = 0; i < tasks; ++i) work(i);
}

// p as a pointer to what the first argument points to
template <class T> T *same(const T *, void *p) { return static_cast<T *>(p); }

// Calls `work` with p as a pointer to the type that the flag names.
template <class Work> void typed(const void *p, bool bf16, Work work) {
    if (bf16) work(static_cast<const Bf16 *>(p));
    else work(static_cast<const float *>(p));
}

}  // namespace

extern "C" {

// Per channel: sum and sum of squares of z - centre.
void scaflow_moments(const Shape *s, const void *z, int bf16, const float *centre, double *sum, double *square) {
    const int64_t rows = s->rows(), C = s->channels;
    std::vector<double> parts(2 * rows * C);
    typed(z, bf16, [&](auto *in) {
        each(s->threads, rows, [&](int64_t row) { moments(*s, row, in, centre, &parts[0], &parts[rows * C]); });
    });
    add_up(&parts[0], rows, C, sum);
    add_up(&parts[rows * C], rows, C, square);
}

// Current gain*z + offset -> spikes; activity, if not null: the sum per channel of s + |v| over steps, images and map.
void scaflow_fire(const Shape *s, const void *z, int bf16, const float *gain, const float *offset, void *spikes,
                  int spikes_bf16, double *activity) {
    std::vector<double> parts(activity ? s->images * s->channels : 0);
    double *sums = activity ? parts.data() : nullptr;
    typed(z, bf16, [&](auto *in) {
        typed(spikes, spikes_bf16, [&](auto *kind) {
            auto *out = same(kind, spikes);
            each(s->threads, s->images, [&](int64_t i) {
                if (s->pool == 1) fire<1>(*s, i, in, gain, offset, out, sums);
                else if (s->pool == 2) fire<2>(*s, i, in, gain, offset, out, sums);
                else fire<0>(*s, i, in, gain, offset, out, sums);
            });
        });
    });
    if (activity) add_up(sums, s->images, s->channels, activity);
}

// Gradient at the spikes -> gradient at the output of the batch normalisation, in the type of z; its sum and the sum
// of it times xhat.
void scaflow_fire_gradient(const Shape *s, const void *z, int bf16, const float *gain, const float *offset,
                           const float *mean, const float *inverse, const void *upstream, int upstream_bf16,
                           void *grad, double *sum, double *product) {
    const int64_t tasks = s->images, C = s->channels;
    std::vector<double> parts(2 * tasks * C);
    double *sums = &parts[0], *products = &parts[tasks * C];
    typed(z, bf16, [&](auto *in) {
        typed(upstream, upstream_bf16, [&](auto *up) {
            auto *to = same(in, grad);
            each(s->threads, tasks, [&](int64_t i) {
                if (s->pool == 1) fire_gradient<1>(*s, i, in, gain, offset, mean, inverse, up, to, sums, products);
                else if (s->pool == 2)
                    fire_gradient<2>(*s, i, in, gain, offset, mean, inverse, up, to, sums, products);
                else fire_gradient<0>(*s, i, in, gain, offset, mean, inverse, up, to, sums, products);
            });
        });
    });
    add_up(sums, tasks, C, sum);
    add_up(products, tasks, C, product);
}

// grad = gain * (grad - constant - (z - mean) * linear), of the type of z
void scaflow_input_gradient(const Shape *s, const void *z, int bf16, const float *gain, const float *mean,
                            const float *constant, const float *linear, void *grad) {
    typed(z, bf16, [&](auto *in) {
        auto *out = same(in, grad);
        each(s->threads, s->rows(),
             [&](int64_t row) { input_gradient(*s, row, in, gain, mean, constant, linear, out); });
    });
}
}

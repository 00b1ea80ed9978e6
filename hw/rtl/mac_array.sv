/// mac_array - PE x SIMD multiply-accumulate array with one weight bank per synapse lane.
///   acc[p] = sum over the beats of a window and the lanes b of  weights[b][addr[b]][p] * act[b]
///            LOOKUP: of  weights[b][{addr[b], act[b]}][p], the sums that stand for each pattern of spikes; 0 for none
/// Beat        in: SIMD act, SIMD addr, last, act lowest; out: PE acc, signed, at each last
/// Latency     3 + ceil(log2(SIMD)) cycles, last accepted -> out_valid; 1 more for the product of pixels
/// Throughput  1 beat/cycle while out_ready
/// Handshake   valid never waits for ready; payload stable while valid && !ready, and beyond until the next sum
/// State       PE accumulators of ACC_BITS, cleared by last; ACC_BITS must hold every window's sum
/// Memory      SIMD banks of DEPTH words of PE weights, WEIGHTS_FILE_00.mem and on, synchronous read; more than 1024
///             words in columns of their bits, WEIGHTS_FILE_00_000.mem and on
/// Golden      quant/golden/mac_array.py
module mac_array #(
  parameter int unsigned PE,
  parameter int unsigned SIMD,
  parameter int unsigned IN_BITS,      // 1: spikes; more: unsigned activations, times weights
  parameter int unsigned LOOKUP,       // 1: an activation is a pattern that picks a word
  parameter int unsigned WEIGHT_BITS,
  parameter int unsigned ACC_BITS,
  parameter int unsigned DEPTH,
  parameter WEIGHTS_FILE,
  localparam int unsigned WORDS = LOOKUP == 1 ? DEPTH >> IN_BITS : DEPTH,  // that addr tells apart
  localparam int unsigned ADDR_BITS = WORDS > 1 ? $clog2(WORDS) : 1
) (
  input  logic clk,
  input  logic rst_n,
  input  logic in_valid,
  output logic in_ready,
  input  logic [SIMD*(IN_BITS+ADDR_BITS):0] in_data,
  output logic out_valid,
  input  logic out_ready,
  output logic [PE*ACC_BITS-1:0] out_data
);
  localparam int unsigned LEVELS = $clog2(SIMD);
  localparam int unsigned LEAVES = 2 ** LEVELS;
  // cycles from a beat's acceptance to its sum: read, gate or hold, [multiply], one a level
  localparam bit MULTIPLIED = IN_BITS > 1 && LOOKUP == 0;
  localparam int unsigned STAGES = 2 + (MULTIPLIED ? 1 : 0) + LEVELS;
  localparam int unsigned TERM_BITS = MULTIPLIED ? WEIGHT_BITS + IN_BITS : WEIGHT_BITS;
  localparam int unsigned INDEX_BITS = DEPTH > 1 ? $clog2(DEPTH) : 1;
  // A bank of more than 1024 words is cut into columns that a block RAM is deep enough for (16 kbit, a bit in nine more):
  // several of them behind a multiplexer would cost a LUT a bit, and time where the memory is slow already.
  localparam int unsigned WORD_BITS = PE * WEIGHT_BITS;
  localparam int unsigned DEEP =
    DEPTH <= 1024 || DEPTH > 16384 ? WORD_BITS : DEPTH <= 2048 ? 9 : DEPTH <= 4096 ? 4 : DEPTH <= 8192 ? 2 : 1;
  localparam int unsigned COLUMN = DEEP < WORD_BITS ? DEEP : WORD_BITS;
  localparam int unsigned COLUMNS = (WORD_BITS + COLUMN - 1) / COLUMN;
  localparam int unsigned SUM_BITS = TERM_BITS + LEVELS;

  if (SIMD > 100 || PE < 1 || SIMD < 1) begin : chk_lanes
    $error("mac_array: PE=%0d, SIMD=%0d; PE must be positive, SIMD 1 to 100", PE, SIMD);
  end
  if (COLUMNS > 1000) begin : chk_columns
    $error("mac_array: %0d words of %0d bits are too many", DEPTH, WORD_BITS);
  end
  if (LOOKUP > 1 || (LOOKUP == 1 && (WORDS < 1 || WORDS << IN_BITS != DEPTH))) begin : chk_lookup
    $error("mac_array: LOOKUP=%0d must be 0 or 1, and DEPTH=%0d then whole patterns of %0d bits", LOOKUP, DEPTH, IN_BITS);
  end

  wire enable = !out_valid || out_ready;
  assign in_ready = enable;

  logic [STAGES:1] valid;
  logic [STAGES-1:1] last;
  logic ends;  // a window's last sum; high in reset, which clears the accumulators
  always_ff @(posedge clk) begin
    if (enable) last <= (STAGES - 1)'({last, in_data[SIMD*(IN_BITS+ADDR_BITS)]});
    if (!rst_n) valid <= '0;
    else if (enable) valid <= {valid[STAGES-1:1], in_valid};
    if (!rst_n) ends <= 1'b1;
    else if (enable) ends <= valid[STAGES-1] && last[STAGES-1];
  end

  // the products, lane by lane: term[lane][pe]
  logic [LEAVES-1:0][PE-1:0][TERM_BITS-1:0] term;
  for (genvar b = 0; b < LEAVES; b++) begin : lane
    if (b >= SIMD) begin : absent
      assign term[b] = '0;
    end else begin : present
      localparam bit [15:0] DIGITS = {8'(48 + b / 10), 8'(48 + b % 10)};
      logic [PE*WEIGHT_BITS-1:0] read;
      wire [IN_BITS-1:0] act = in_data[b*IN_BITS+:IN_BITS];
      wire [ADDR_BITS-1:0] addr = in_data[SIMD*IN_BITS+b*ADDR_BITS+:ADDR_BITS];
      wire [INDEX_BITS-1:0] index = LOOKUP == 1 ? INDEX_BITS'({addr, act}) : INDEX_BITS'(addr);
      logic [IN_BITS-1:0] act_1;
      always_ff @(posedge clk) if (enable) act_1 <= act;
      for (genvar c = 0; c < COLUMNS; c++) begin : memory
        localparam int unsigned FIRST = c * COLUMN;
        localparam int unsigned BITS = FIRST + COLUMN > WORD_BITS ? WORD_BITS - FIRST : COLUMN;
        // block RAM from 33 words on, so that a shorter (pruned) bank does not turn into logic
        (* rom_style = DEPTH > 32 ? "block" : "auto" *)
        logic [BITS-1:0] column [DEPTH];
        if (COLUMNS == 1) begin : whole
          initial $readmemh({WEIGHTS_FILE, "_", DIGITS, ".mem"}, column);
        end else begin : part
          localparam bit [23:0] PLACE = {8'(48 + c / 100), 8'(48 + c / 10 % 10), 8'(48 + c % 10)};
          initial $readmemh({WEIGHTS_FILE, "_", DIGITS, "_", PLACE, ".mem"}, column);
        end
        always_ff @(posedge clk) if (enable) read[FIRST+:BITS] <= column[index];
      end
      logic [PE-1:0][TERM_BITS-1:0] product;
      assign term[b] = product;
      if (LOOKUP == 1) begin : pattern
        // a register behind the memory, which is slow; the word of no spike is zero
        always_ff @(posedge clk) begin
          if (enable) product <= read;
        end
        wire unused = &{1'b0, act_1};
      end else if (IN_BITS == 1) begin : gate
        // the zero comes by the register's synchronous reset, not by a gate a bit
        always_ff @(posedge clk) begin
          if (enable) product <= act_1 ? read : '0;
        end
      end else if (WEIGHT_BITS <= 4) begin : pick
        // A weight's two highest bits and those below each pick a multiple of the activation. The multiples are formed
        // once for all neurons: no multiplier.
        localparam bit [1:0] BELOW = 2'(2 ** (WEIGHT_BITS - 2) - 1);
        logic [PE-1:0][WEIGHT_BITS-1:0] weight;
        logic [TERM_BITS-1:0] once;
        logic [3:0][TERM_BITS-1:0] high, low;
        assign once = TERM_BITS'(act_1);
        always_ff @(posedge clk) begin
          if (enable) begin
            weight <= read;
            high <= {-once, -(once << 1), once, TERM_BITS'(0)};
            low <= {once + (once << 1), once << 1, once, TERM_BITS'(0)};
            for (int p = 0; p < PE; p++) begin
              product[p] <= (high[weight[p][WEIGHT_BITS-1-:2]] << (WEIGHT_BITS - 2)) + low[2'(weight[p]) & BELOW];
            end
          end
        end
      end else begin : multiply
        logic [PE*WEIGHT_BITS-1:0] weight;
        logic [IN_BITS-1:0] act_2;
        always_ff @(posedge clk) begin
          if (enable) begin
            weight <= read;
            act_2 <= act_1;
            for (int p = 0; p < PE; p++) begin
              product[p] <= TERM_BITS'($signed(weight[p*WEIGHT_BITS+:WEIGHT_BITS]) * $signed({1'b0, act_2}));
            end
          end
        end
      end
    end
  end

  // the adder tree: node n sums nodes 2n and 2n+1; the leaves are nodes LEAVES .. 2*LEAVES-1; one register a level
  logic [2*LEAVES-1:1][PE-1:0][SUM_BITS-1:0] node;
  for (genvar n = 1; n < 2 * LEAVES; n++) begin : tree
    // a node's sum needs one bit more than its children's
    localparam int unsigned BITS = TERM_BITS + LEVELS - ($clog2(n + 1) - 1);
    for (genvar p = 0; p < PE; p++) begin : pe
      logic signed [BITS-1:0] sum;
      assign node[n][p] = SUM_BITS'(sum);
      if (n >= LEAVES) begin : leaf
        assign sum = $signed(term[n-LEAVES][p]);
      end else begin : add
        always_ff @(posedge clk) begin
          if (enable) sum <= $signed(node[2*n][p][BITS-2:0]) + $signed(node[2*n+1][p][BITS-2:0]);
        end
      end
    end
  end

  // the accumulators
  logic [PE-1:0][ACC_BITS-1:0] acc, total;
  for (genvar p = 0; p < PE; p++) begin : accumulate
    assign total[p] = acc[p] + ACC_BITS'($signed(node[1][p]));
  end
  always_ff @(posedge clk) begin
    // the zero comes by the registers' synchronous reset, not by a gate a bit
    if (enable && ends) acc <= '0;
    else if (enable && valid[STAGES]) acc <= total;
    if (enable && ends) out_data <= total;  // a sum stays until the next one
    if (!rst_n) out_valid <= 1'b0;
    else if (enable) out_valid <= valid[STAGES] && ends;
  end
endmodule

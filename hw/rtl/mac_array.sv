/// mac_array - PE x SIMD multiply-accumulate array with one weight bank per synapse lane.
///   acc[p] = sum over the beats of a window and the lanes b of  weights[b][addr[b]][p] * act[b]
///            LOOKUP: of  weights[b][{addr[b], act[b]}][p], the sums that stand for each pattern of spikes; 0 for none.
///            Above 1 for each part j of a pattern of PLACES numbers: bits j*PART_BITS and on of each of them; times
///            2**(j*PART_BITS)
/// Beat        in: SIMD act, SIMD addr, last, act lowest; out: PE acc, signed, at each last
/// Latency     3 + ceil(log2(SIMD * parts)) cycles, last accepted -> out_valid; 1 more for the product of pixels, and
///             for a look-up; 1 + ceil(log8(segments)) more where there are any
/// Throughput  1 beat/cycle while out_ready
/// Handshake   valid never waits for ready; payload stable while valid && !ready, and beyond until the next sum
/// State       PE accumulators of ACC_BITS, cleared by last; ACC_BITS must hold every window's sum
/// Memory      SIMD banks of DEPTH words of PE weights, WEIGHTS_FILE_00.mem and on, synchronous read, by all parts at
///             once; more than 1024 words in columns of their bits, WEIGHTS_FILE_00_000.mem and on; more than 16384 in
///             segments of so many, WEIGHTS_FILE_00_000_000.mem and on
/// Golden      quant/golden/mac_array.py
module mac_array #(
  parameter int unsigned PE,
  parameter int unsigned SIMD,
  parameter int unsigned IN_BITS,      // 1: spikes; more: unsigned activations, times weights
  parameter int unsigned LOOKUP,       // 1: an activation is a pattern that picks a word; more: so many parts of it do
  parameter int unsigned PLACES,       // numbers in a pattern
  parameter int unsigned WEIGHT_BITS,
  parameter int unsigned ACC_BITS,
  parameter int unsigned DEPTH,
  parameter WEIGHTS_FILE,
  localparam int unsigned PARTS = LOOKUP > 1 ? LOOKUP : 1,
  localparam int unsigned PATTERN_BITS = PLACES * ((IN_BITS / PLACES + PARTS - 1) / PARTS),
  localparam int unsigned WORDS = LOOKUP > 0 ? DEPTH >> PATTERN_BITS : DEPTH,  // that addr tells apart
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
  localparam int unsigned LEVELS = $clog2(SIMD * PARTS);
  localparam int unsigned LEAVES = 2 ** LEVELS;
  localparam int unsigned PART_BITS = PATTERN_BITS / PLACES;  // of a number
  // a word is chosen from those of its segments: a register behind each, and one behind each choice of one in eight
  localparam int unsigned SEGMENTS = (DEPTH + 16383) / 16384;
  localparam int unsigned CHOICES = ($clog2(SEGMENTS) + 2) / 3;
  localparam int unsigned CHOOSING = SEGMENTS > 1 ? 1 + CHOICES : 0;
  // cycles from a beat's acceptance to its sum: read, gate or hold, [multiply or come near], one a level
  localparam bit MULTIPLIED = IN_BITS > 1 && LOOKUP == 0;
  localparam int unsigned STAGES = 2 + CHOOSING + (MULTIPLIED || LOOKUP > 0 ? 1 : 0) + LEVELS;
  localparam int unsigned TERM_BITS = MULTIPLIED ? WEIGHT_BITS + IN_BITS : WEIGHT_BITS + (PARTS - 1) * PART_BITS;
  localparam int unsigned INDEX_BITS = DEPTH > 1 ? $clog2(DEPTH) : 1;
  // A bank of more than 1024 words is cut into columns that a block RAM is deep enough for (16 kbit, a bit in nine more):
  // several of them behind a multiplexer would cost a LUT a bit, and time where the memory is slow already.
  localparam int unsigned WORD_BITS = PE * WEIGHT_BITS;
  // No column of more than 16384 words fits one: such a bank is cut into segments first, the last one of what is left.
  localparam int unsigned DEEPEST = 16384;
  localparam int unsigned REST = DEPTH - (SEGMENTS - 1) * DEEPEST;
  localparam int unsigned DEEP = REST <= 1024 ? WORD_BITS : REST <= 2048 ? 9 : REST <= 4096 ? 4 : REST <= 8192 ? 2 : 1;
  localparam int unsigned COLUMN = DEEP < WORD_BITS ? DEEP : WORD_BITS;
  localparam int unsigned COLUMNS = (WORD_BITS + COLUMN - 1) / COLUMN;  // of the last segment; the others have one a bit
  localparam int unsigned WHOLE = (SEGMENTS - 1) * WORD_BITS;  // columns of the others
  localparam int unsigned SUM_BITS = TERM_BITS + LEVELS;

  if (SIMD > 100 || PE < 1 || SIMD < 1) begin : chk_lanes
    $error("mac_array: PE=%0d, SIMD=%0d; PE must be positive, SIMD 1 to 100", PE, SIMD);
  end
  if (PLACES < 1 || IN_BITS % PLACES != 0 || PARTS > IN_BITS / PLACES) begin : chk_parts
    $error("mac_array: PLACES=%0d must divide IN_BITS=%0d into numbers of LOOKUP=%0d bits or more", PLACES, IN_BITS, LOOKUP);
  end
  if (COLUMNS > 1000 || WORD_BITS > 1000 && SEGMENTS > 1 || SEGMENTS > 1000) begin : chk_columns
    $error("mac_array: %0d words of %0d bits are too many", DEPTH, WORD_BITS);
  end
  if (LOOKUP > 0 && PATTERN_BITS > 14) begin : chk_pattern
    $error("mac_array: patterns of %0d bits do not lie in one segment", PATTERN_BITS);
  end
  if (LOOKUP > 0 && (WORDS < 1 || WORDS << PATTERN_BITS != DEPTH)) begin : chk_lookup
    $error("mac_array: DEPTH=%0d must be whole patterns of %0d bits", DEPTH, PATTERN_BITS);
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

  // the words of each lane that its parts pick, and the activation that came with them
  logic [SIMD-1:0][PARTS-1:0][WORD_BITS-1:0] read;
  logic [SIMD-1:0][IN_BITS-1:0] act_1;
  logic [SIMD-1:0][PARTS-1:0][SEGMENTS-1:0][WORD_BITS-1:0] of_segments;  // of which one is meant
  if (SEGMENTS == 1) begin : no_segments
    wire unused = &{1'b0, of_segments};
    assign of_segments = '0;
  end
  for (genvar b = 0; b < SIMD; b++) begin : bank
    localparam bit [15:0] DIGITS = {8'(48 + b / 10), 8'(48 + b % 10)};
    wire [IN_BITS-1:0] act = in_data[b*IN_BITS+:IN_BITS];
    wire [ADDR_BITS-1:0] addr = in_data[SIMD*IN_BITS+b*ADDR_BITS+:ADDR_BITS];
    logic [PARTS-1:0][INDEX_BITS-1:0] index;
    if (SEGMENTS == 1) begin : alone
      always_ff @(posedge clk) if (enable) act_1[b] <= act;
    end
    if (LOOKUP == 0) begin : step
      assign index[0] = INDEX_BITS'(addr);
    end else begin : pattern
      // a part's bits of each number
      logic [PARTS-1:0][PLACES-1:0][PART_BITS-1:0] part;
      always_comb begin
        part = '0;
        for (int i = 0; i < IN_BITS; i++) begin
          automatic int bit_of = i % (IN_BITS / PLACES);
          part[bit_of/PART_BITS][i/(IN_BITS/PLACES)][bit_of%PART_BITS] = act[i];
        end
      end
      for (genvar j = 0; j < PARTS; j++) begin : picked
        assign index[j] = INDEX_BITS'({addr, part[j]});
      end
    end
    for (genvar c = 0; c < WHOLE + COLUMNS; c++) begin : memory
      localparam int unsigned SEGMENT = c < WHOLE ? c / WORD_BITS : SEGMENTS - 1;
      localparam int unsigned SIZE = c < WHOLE ? DEEPEST : REST;
      localparam int unsigned PLACE = c - SEGMENT * WORD_BITS;
      localparam int unsigned FIRST = c < WHOLE ? PLACE : PLACE * COLUMN;
      localparam int unsigned LAST = c < WHOLE ? FIRST + 1 : FIRST + COLUMN;
      localparam int unsigned BITS = LAST > WORD_BITS ? WORD_BITS - FIRST : LAST - FIRST;
      localparam int unsigned WITHIN = SIZE > 1 ? $clog2(SIZE) : 1;  // bits of an address in it
      localparam bit [23:0] OF = {8'(48 + SEGMENT / 100), 8'(48 + SEGMENT / 10 % 10), 8'(48 + SEGMENT % 10)};
      localparam bit [23:0] AT = {8'(48 + PLACE / 100), 8'(48 + PLACE / 10 % 10), 8'(48 + PLACE % 10)};
      // block RAM from 33 words on, so that a shorter (pruned) bank does not turn into logic
      (* rom_style = SIZE > 32 ? "block" : "auto" *)
      logic [BITS-1:0] column [SIZE];
      if (SEGMENTS > 1) begin : segment
        initial $readmemh({WEIGHTS_FILE, "_", DIGITS, "_", OF, "_", AT, ".mem"}, column);
      end else if (COLUMNS == 1) begin : whole
        initial $readmemh({WEIGHTS_FILE, "_", DIGITS, ".mem"}, column);
      end else begin : part
        initial $readmemh({WEIGHTS_FILE, "_", DIGITS, "_", AT, ".mem"}, column);
      end
      for (genvar j = 0; j < PARTS; j++) begin : port
        if (SEGMENTS == 1) begin : whole_bank
          always_ff @(posedge clk) if (enable) read[b][j][FIRST+:BITS] <= column[index[j]];
        end else begin : one_of_several
          always_ff @(posedge clk) if (enable) of_segments[b][j][SEGMENT][FIRST+:BITS] <= column[WITHIN'(index[j])];
        end
      end
    end
    if (SEGMENTS > 1) begin : choosing
      localparam int unsigned PICK_BITS = $clog2(SEGMENTS);
      logic [CHOOSING:0][IN_BITS-1:0] beside;
      assign act_1[b] = beside[CHOOSING];
      always_ff @(posedge clk) if (enable) beside <= ((CHOOSING + 1) * IN_BITS)'({beside, act});
      // as the words are read, and what is left of it at each choice; a pattern lies in one segment, whatever its parts
      logic [CHOICES:0][PICK_BITS-1:0] pick;
      always_ff @(posedge clk) if (enable) begin
        pick[0] <= PICK_BITS'(index[0] >> $clog2(DEEPEST));
        for (int v = 1; v <= CHOICES; v++) pick[v] <= v > 1 ? pick[v-1] >> 3 : pick[0];
      end
      wire unused = &{1'b0, pick[CHOICES]};
      for (genvar j = 0; j < PARTS; j++) begin : word
        for (genvar v = 0; v <= CHOICES; v++) begin : choice
          localparam int unsigned LEFT = (SEGMENTS + 8 ** v - 1) / 8 ** v;
          logic [LEFT-1:0][WORD_BITS-1:0] left;
          if (v == 0) begin : behind  // a block RAM has this register
            always_ff @(posedge clk) if (enable) left <= of_segments[b][j];
          end else begin : one_of_eight
            wire [LEFT-1:0][7:0][WORD_BITS-1:0] from = (LEFT * 8 * WORD_BITS)'(choice[v-1].left);
            always_ff @(posedge clk) if (enable) begin
              for (int n = 0; n < LEFT; n++) left[n] <= from[n][3'(pick[v])];
            end
          end
        end
        assign read[b][j] = choice[CHOICES].left;
      end
    end
  end

  // the products, part by part of each lane: term[leaf][pe]
  logic [LEAVES-1:0][PE-1:0][TERM_BITS-1:0] term;
  for (genvar l = 0; l < LEAVES; l++) begin : leaf
    if (l >= SIMD * PARTS) begin : absent
      assign term[l] = '0;
    end else begin : present
      localparam int unsigned LANE = l / PARTS, PART = l % PARTS;
      wire [WORD_BITS-1:0] word = read[LANE][PART];
      wire [IN_BITS-1:0] act = act_1[LANE];
      logic [PE-1:0][TERM_BITS-1:0] product;
      assign term[l] = product;
      if (LOOKUP > 0) begin : pattern
        // A register behind the memory, which is slow (a block RAM has one), and one beside the adders. The word of no
        // spike is zero.
        logic [PE-1:0][WEIGHT_BITS-1:0] held, near;
        always_ff @(posedge clk) if (enable) {held, near} <= {word, held};
        for (genvar p = 0; p < PE; p++) begin : pe
          assign product[p] = TERM_BITS'($signed(near[p])) << (PART * PART_BITS);
        end
        wire unused = &{1'b0, act};
      end else if (IN_BITS == 1) begin : gate
        // the zero comes by the register's synchronous reset, not by a gate a bit
        always_ff @(posedge clk) begin
          if (enable) product <= act ? word : '0;
        end
      end else if (WEIGHT_BITS <= 4) begin : pick
        // A weight's two highest bits and those below each pick a multiple of the activation. The multiples are formed
        // once for all neurons: no multiplier.
        localparam bit [1:0] BELOW = 2'(2 ** (WEIGHT_BITS - 2) - 1);
        logic [PE-1:0][WEIGHT_BITS-1:0] weight;
        logic [TERM_BITS-1:0] once;
        logic [3:0][TERM_BITS-1:0] high, low;
        assign once = TERM_BITS'(act);
        always_ff @(posedge clk) begin
          if (enable) begin
            weight <= word;
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
            weight <= word;
            act_2 <= act;
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
      if (n >= LEAVES) begin : top
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

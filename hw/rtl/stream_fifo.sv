/// stream_fifo - a first-in first-out queue of DEPTH beats: in LUT RAM, or from 65 beats on in block RAM.
///   out = in
/// Beat        WIDTH bits, opaque
/// Latency     1 cycle, input accepted -> out_valid
/// Throughput  1 beat/cycle; in_ready and out_valid are functions of registers only
/// Handshake   valid never waits for ready; payload stable while valid && !ready
/// State       DEPTH words, two pointers and a count; rst_n empties it. A deep queue keeps its first HEAD beats in front
///             of the block RAM, whose reading takes three cycles: they pass it while it is empty
/// Golden      quant/golden/stream_fifo.py
module stream_fifo #(
  parameter int unsigned WIDTH,  // bits of a beat
  parameter int unsigned DEPTH   // beats held; at least 2, or a full queue could not take and give in one cycle
) (
  input  logic             clk,
  input  logic             rst_n,
  input  logic             in_valid,
  output logic             in_ready,
  input  logic [WIDTH-1:0] in_data,
  output logic             out_valid,
  input  logic             out_ready,
  output logic [WIDTH-1:0] out_data
);
  if (WIDTH < 1) begin : chk_width $error("WIDTH=%0d must be at least 1", WIDTH); end
  if (DEPTH < 2) begin : chk_depth $error("DEPTH=%0d must be at least 2", DEPTH); end

  localparam int unsigned ADDR_BITS  = $clog2(DEPTH);
  localparam int unsigned COUNT_BITS = $clog2(DEPTH + 1);
  localparam logic [ADDR_BITS-1:0]  LAST = ADDR_BITS'(DEPTH - 1);
  localparam logic [COUNT_BITS-1:0] FULL = COUNT_BITS'(DEPTH);

  logic [ADDR_BITS-1:0]  write_q, read_q;
  logic [COUNT_BITS-1:0] count_q;
  logic                  push, pop;

  assign in_ready = count_q != FULL;
  assign push     = in_valid && in_ready;
  assign pop      = out_valid && out_ready;
  always_ff @(posedge clk) begin
    if (!rst_n) count_q <= '0;
    else if (push != pop) count_q <= push ? count_q + 1'b1 : count_q - 1'b1;
  end

  if (DEPTH <= 64) begin : shallow
    // two beats are flip-flops: LUT RAM has few places, and a late beat would have far to go
    (* ram_style = DEPTH > 2 ? "auto" : "registers" *)
    logic [WIDTH-1:0] memory [DEPTH];
    assign out_valid = count_q != '0;
    assign out_data  = memory[read_q];
    always_ff @(posedge clk) begin
      if (push) memory[write_q] <= in_data;
      if (!rst_n) begin
        write_q <= '0;
        read_q  <= '0;
      end else begin
        if (push) write_q <= write_q == LAST ? '0 : write_q + 1'b1;
        if (pop)  read_q  <= read_q  == LAST ? '0 : read_q  + 1'b1;
      end
    end
  end else begin : deep
    localparam int unsigned HEAD = 4;  // at least the cycles from a fetch to its place's next one
    (* ram_style = "block", no_rw_check *)  // a word is read a cycle after it was written, at the earliest
    logic [WIDTH-1:0] memory [DEPTH];
    logic [WIDTH-1:0] head [HEAD];
    logic [WIDTH-1:0] read, word;       // from the memory, and the same in a register, for the memory is slow
    logic [COUNT_BITS-1:0] behind;      // words in the memory
    logic [1:0] head_write, head_read;
    logic [2:0] ahead, taken;           // words in the head; its places that these and the words on their way take
    logic fetched, coming;              // `read` goes to `word`; `word` goes to the head
    wire room = taken < 3'(HEAD);
    wire fetch = behind != '0 && room;
    wire direct = push && behind == '0 && !fetched && !coming && room;
    wire store = push && !direct;

    assign out_valid = ahead != '0;
    assign out_data  = head[head_read];
    always_ff @(posedge clk) begin
      if (store) memory[write_q] <= in_data;
      if (fetch) read <= memory[read_q];
      word <= read;
      if (direct || coming) head[head_write] <= coming ? word : in_data;
      if (!rst_n) begin
        {write_q, read_q, behind} <= '0;
        {head_write, head_read, ahead, taken, fetched, coming} <= '0;
      end else begin
        if (store) write_q <= write_q == LAST ? '0 : write_q + 1'b1;
        if (fetch) read_q  <= read_q  == LAST ? '0 : read_q  + 1'b1;
        if (store != fetch) behind <= store ? behind + 1'b1 : behind - 1'b1;
        {fetched, coming} <= {fetch, fetched};
        if (direct || coming) head_write <= head_write + 1'b1;
        if (pop) head_read <= head_read + 1'b1;
        if ((direct || coming) != pop) ahead <= pop ? ahead - 1'b1 : ahead + 1'b1;
        if ((direct || fetch) != pop) taken <= pop ? taken - 1'b1 : taken + 1'b1;
      end
    end
  end
endmodule

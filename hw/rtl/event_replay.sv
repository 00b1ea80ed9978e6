/// event_replay - repeats each packet of synapse beats FOLDS times, with the fold as a field of the address.
///   for each packet, for f in 0..FOLDS-1, for each beat:  addr {k, j} becomes {k, f, j}, f of clog2(FOLDS) bits
/// Beat        in: SIMD act, SIMD addr below KERNEL*STEPS, last; out: SIMD act, SIMD addr, last; act lowest
/// Latency     FOLDS 1: 1 cycle, beat accepted -> out_valid; more: 4 cycles
/// Throughput  1 beat/cycle out while out_ready: FOLDS * n cycles a packet of n beats; the next one comes in meanwhile
/// Handshake   valid never waits for ready; payload stable while valid && !ready; in_ready follows registers only
/// State       FOLDS 1: 2 beats; more: 2 packets of at most LENGTH beats. Fold 0 is read while its packet comes in
/// Golden      quant/golden/event_replay.py
module event_replay #(
  parameter int unsigned SIMD,
  parameter int unsigned IN_BITS,
  parameter int unsigned KERNEL,  // kernel positions
  parameter int unsigned STEPS,   // addresses a kernel position, a power of two
  parameter int unsigned FOLDS,
  parameter int unsigned LENGTH,  // most beats of a packet
  localparam int unsigned FOLD_BITS = KERNEL * STEPS > 1 ? $clog2(KERNEL * STEPS) : 1,
  localparam int unsigned F_BITS = $clog2(FOLDS),
  localparam int unsigned DEPTH = KERNEL * 2 ** F_BITS * STEPS,
  localparam int unsigned ADDR_BITS = DEPTH > 1 ? $clog2(DEPTH) : 1
) (
  input  logic clk,
  input  logic rst_n,
  input  logic in_valid,
  output logic in_ready,
  input  logic [SIMD*(IN_BITS+FOLD_BITS):0] in_data,
  output logic out_valid,
  input  logic out_ready,
  output logic [SIMD*(IN_BITS+ADDR_BITS):0] out_data
);
  localparam int unsigned J_BITS = $clog2(STEPS);

  if (STEPS != 2 ** J_BITS || FOLDS < 1 || LENGTH < 1) begin : chk_shape
    $error("event_replay: STEPS=%0d must be a power of two, FOLDS=%0d and LENGTH=%0d at least 1", STEPS, FOLDS, LENGTH);
  end

  if (FOLDS == 1) begin : once
    stream_fifo #(.WIDTH(SIMD * (IN_BITS + FOLD_BITS) + 1), .DEPTH(2)) beats (
      .clk(clk), .rst_n(rst_n), .in_valid(in_valid), .in_ready(in_ready),
      .in_data(in_data),
      .out_valid(out_valid), .out_ready(out_ready), .out_data(out_data)
    );
  end else begin : repeated
    localparam int unsigned L_BITS = LENGTH > 1 ? $clog2(LENGTH) : 1;
    typedef logic [L_BITS-1:0] index_t;
    typedef logic [F_BITS-1:0] fold_t;
    typedef logic [ADDR_BITS-1:0] addr_t;

    // --- in: a register, whose reset is where idle banks are given their zeros ------------------------------------
    logic [SIMD*(IN_BITS+FOLD_BITS):0] in_q;
    logic in_half, pushed;  // of the memory, for the next packet
    logic [1:0] whole, written;  // a half's packet has come in; it is in the memory
    assign in_ready = !whole[in_half];
    wire take = in_valid && in_ready;
    always_ff @(posedge clk) begin
      in_q <= in_data;
      if (!rst_n) {in_half, pushed} <= '0;
      else begin
        pushed <= take;
        if (take && in_data[SIMD*(IN_BITS+FOLD_BITS)]) in_half <= !in_half;
      end
    end

    // --- the packets: the halves of the memory in turn ----------------------------------------------------------
    (* no_rw_check *)
    logic [SIMD*(IN_BITS+FOLD_BITS)-1:0] memory [2**(L_BITS+1)];
    index_t wr, rd;
    index_t [1:0] finish;  // index of a packet's last beat
    logic wr_half, rd_half;
    wire push_last = pushed && in_q[SIMD*(IN_BITS+FOLD_BITS)];

    fold_t fold;
    logic valid, last, enable;
    wire stop = rd == (written[rd_half] ? finish[rd_half] : wr);  // the last beat, or the one being written
    wire there = written[rd_half] || !stop;
    wire read_last = written[rd_half] && stop;
    wire fold_last = fold == fold_t'(FOLDS - 1);
    wire read = there && enable;
    always_ff @(posedge clk) begin
      if (pushed) memory[{wr_half, wr}] <= in_q[SIMD*(IN_BITS+FOLD_BITS)-1:0];
      if (push_last) finish[wr_half] <= wr;
      if (!rst_n) begin
        {wr, rd, whole, written, wr_half, rd_half, fold} <= '0;
      end else begin
        if (pushed) wr <= push_last ? '0 : wr + 1'b1;
        if (push_last) begin
          wr_half <= !wr_half;
          written[wr_half] <= 1'b1;
        end
        if (take && in_data[SIMD*(IN_BITS+FOLD_BITS)]) whole[in_half] <= 1'b1;
        if (read) rd <= read_last ? '0 : rd + 1'b1;
        if (read && read_last) begin
          fold <= fold_last ? '0 : fold + 1'b1;
          if (fold_last) begin
            rd_half <= !rd_half;
            {whole[rd_half], written[rd_half]} <= '0;
          end
        end
      end
    end

    // --- the read, and the same in a register, for the memory is slow ------------------------------------------------
    logic [SIMD*(IN_BITS+FOLD_BITS)-1:0] beat, out_beat;
    fold_t fold_q, out_fold;
    logic out_last;
    logic [SIMD-1:0][ADDR_BITS-1:0] addr;
    wire enable_out = !out_valid || out_ready;
    assign enable = !valid || enable_out;
    always_comb begin
      for (int b = 0; b < SIMD; b++) begin
        automatic addr_t in_fold = addr_t'(out_beat[SIMD*IN_BITS+b*FOLD_BITS+:FOLD_BITS]);
        addr[b] = ((in_fold >> J_BITS) << (F_BITS + J_BITS)) | (addr_t'(out_fold) << J_BITS) |
                  (in_fold & addr_t'(STEPS - 1));
      end
    end
    assign out_data = {out_last, addr, out_beat[SIMD*IN_BITS-1:0]};
    always_ff @(posedge clk) begin
      if (read) beat <= memory[{rd_half, rd}];
      if (enable) {fold_q, last} <= {fold, read_last};
      if (enable_out) {out_beat, out_fold, out_last} <= {beat, fold_q, last};
      if (!rst_n) {valid, out_valid} <= '0;
      else begin
        if (enable) valid <= there;
        if (enable_out) out_valid <= valid;
      end
    end
  end
endmodule

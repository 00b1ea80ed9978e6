/// axis_out - a read-out beat as an AXI4-Stream frame of 32-bit words.
///   words = class, logit[0], .., logit[CLASSES-1], sign-extended; tlast on the last
///   FRAMES: bit 31 of the class is set where the recording goes on
/// Beat        in: CLASSES x logit, signed, then the class above them, FRAMES: ends above it; out: 32 bits and tlast
/// Latency     1 cycle, beat accepted -> the class
/// Throughput  1 word/cycle while m_axis_tready: CLASSES + 1 cycles a beat
/// Handshake   valid never waits for ready; payload stable while valid && !ready; in_ready follows m_axis_tready
/// State       the beat being sent and a word count
/// Golden      quant/golden/axis_out.py
module axis_out #(
  parameter int unsigned CLASSES,
  parameter int unsigned LOGIT_BITS,
  parameter int unsigned CLASS_BITS,
  parameter int unsigned FRAMES = 0  // 1: a beat says whether its recording ends
) (
  input  logic clk,
  input  logic rst_n,
  input  logic in_valid,
  output logic in_ready,
  input  logic [CLASSES*LOGIT_BITS+CLASS_BITS+FRAMES-1:0] in_data,
  output logic m_axis_tvalid,
  input  logic m_axis_tready,
  output logic [31:0] m_axis_tdata,
  output logic m_axis_tlast
);
  if (CLASSES < 1) begin : chk_classes
    $error("axis_out: CLASSES=%0d must be at least 1", CLASSES);
  end
  if (LOGIT_BITS < 1 || LOGIT_BITS > 32 || CLASS_BITS < 1 || CLASS_BITS > 32) begin : chk_bits
    $error("axis_out: LOGIT_BITS=%0d and CLASS_BITS=%0d must be 1 to 32", LOGIT_BITS, CLASS_BITS);
  end
  if (FRAMES > 1 || CLASS_BITS + FRAMES > 32) begin : chk_frames
    $error("axis_out: FRAMES=%0d must be 0 or 1, beside CLASS_BITS=%0d in 32", FRAMES, CLASS_BITS);
  end

  localparam int unsigned COUNT_BITS = $clog2(CLASSES + 1);

  logic [CLASSES*LOGIT_BITS+CLASS_BITS+FRAMES-1:0] beat;
  logic [CLASSES:0][31:0] words;
  logic [COUNT_BITS-1:0] word;
  wire last = word == COUNT_BITS'(CLASSES);
  assign in_ready = !m_axis_tvalid || (m_axis_tready && last);
  assign m_axis_tlast = last;
  assign m_axis_tdata = words[word];
  wire [31:0] index = 32'(beat[CLASSES*LOGIT_BITS+:CLASS_BITS]);
  if (FRAMES == 1) begin : recordings
    assign words[0] = {!beat[CLASSES*LOGIT_BITS+CLASS_BITS], index[30:0]};
    wire unused = &{1'b0, index[31]};
  end else begin : images
    assign words[0] = index;
  end
  for (genvar i = 0; i < CLASSES; i++) begin : logit
    assign words[i+1] = 32'($signed(beat[i*LOGIT_BITS+:LOGIT_BITS]));
  end

  always_ff @(posedge clk) begin
    if (in_ready) beat <= in_data;
    if (!rst_n) begin
      m_axis_tvalid <= 1'b0;
      word <= '0;
    end else begin
      if (in_ready) m_axis_tvalid <= in_valid;
      if (m_axis_tvalid && m_axis_tready) word <= last ? '0 : word + 1'b1;
    end
  end
endmodule

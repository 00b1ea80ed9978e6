/// stream_check - the handshake law of one stream, bound to every stream of every simulation.
///   valid && !ready  |=>  valid && data unchanged
/// That valid never waits for ready cannot be seen from inside: the bench holds ready low until valid has come.
module stream_check #(
  parameter int unsigned WIDTH  // bits of the payload
) (
  input logic             clk,
  input logic             rst_n,
  input logic             valid,
  input logic             ready,
  input logic [WIDTH-1:0] data
);
  logic             waiting_q;
  logic [WIDTH-1:0] data_q;

  always_ff @(posedge clk) begin
    waiting_q <= rst_n && valid && !ready;
    data_q    <= data;
  end

  always_ff @(posedge clk) begin
    if (rst_n && waiting_q) begin
      held:   assert (valid) else $error("%m: valid fell before ready came");
      stable: assert (data == data_q) else $error("%m: payload changed from %0h to %0h while waiting", data_q, data);
    end
  end
endmodule

/** The misbehaving HTTP and gRPC servers of the step tests, as a process of their own: prints `{"http":N,"grpc":N}`. */
import { startMisbehavingGrpc } from "../steps/grpc/misbehaving-grpc.ts";
import { startMisbehavingServer } from "../steps/misbehaving-server.ts";

const http = await startMisbehavingServer();
const grpc = await startMisbehavingGrpc();
const stop = (): void => process.exit(0);
process.once("SIGTERM", stop).once("SIGINT", stop);
process.stdin.resume().once("end", stop).once("error", stop);
process.stdout.write(`${JSON.stringify({ http: http.port, grpc: grpc.port })}\n`);

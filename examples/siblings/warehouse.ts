/**
 * The example warehouse as a process: prints one line `{"port":N}` when it listens, and ends on SIGTERM, SIGINT or when its
 * standard input closes. `--reflection v1alpha|off` [v1].
 */
import { parseArgs } from "node:util";
import { startWarehouse } from "./warehouse-server.ts";

const { values } = parseArgs({ options: { reflection: { type: "string", default: "v1" } } });
const reflection = values.reflection === "off" || values.reflection === "v1alpha" ? values.reflection : "v1";
const warehouse = await startWarehouse({ reflection });
const stop = (): void => {
  warehouse.stop();
  process.exit(0);
};
process.once("SIGTERM", stop).once("SIGINT", stop);
process.stdin.resume().once("end", stop).once("error", stop);
process.stdout.write(`${JSON.stringify({ port: warehouse.port })}\n`);

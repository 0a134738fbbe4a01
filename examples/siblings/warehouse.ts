/**
 * The example warehouse as a process: prints one line `{"port":N}` when it listens, and ends on SIGTERM, SIGINT or with the
 * process that holds its standard input. `--reflection v1alpha|off` [v1].
 */
import { parseArgs } from "node:util";
import { stopWithStarter } from "../stop-with-starter.ts";
import { startWarehouse } from "./warehouse-server.ts";

const { values } = parseArgs({ options: { reflection: { type: "string", default: "v1" } } });
const reflection = values.reflection === "off" || values.reflection === "v1alpha" ? values.reflection : "v1";
const warehouse = await startWarehouse({ reflection });
const stop = (): void => {
  warehouse.stop();
  process.exit(0);
};
stopWithStarter(stop);
process.stdout.write(`${JSON.stringify({ port: warehouse.port })}\n`);

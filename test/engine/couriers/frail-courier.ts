/** A courier's thread that does what the options of its orders say. */
import { parentPort } from "node:worker_threads";
import type { JsonObject } from "../../../src/base/json.ts";
import type { FromCourier, ToCourier } from "../../../src/engine/courier-messages.ts";

const post = (message: FromCourier): void => parentPort?.postMessage(message);
const done = (id: number, facts: JsonObject): void => post({ type: "done", id, outcome: { ok: true, value: { kind: "facts", facts } } });

let expected = 0;

parentPort?.on("message", (message: ToCourier) => {
  if (message.type === "abort") return done(message.id, { name: message.reason.name });
  if (message.type === "close") return parentPort?.close();
  if (message.type === "expect") expected += message.sizeBytes;
  if (message.type !== "order") return;
  const { id, order } = message;
  const act = order.options["act"];
  if (act === "die") process.exit(1);
  if (act === "throw") throw new Error("broken inside");
  if (act === "err") return post({ type: "broken", id, message: "a mistake of ours" });
  if (act === "expected") done(id, { expected });
  if (act === "share") parentPort?.once("message", ({ type, ...share }: ToCourier) => done(id, { type, ...share } as JsonObject));
  if (act === "well") done(id, { bytes: order.source.from === "bytes" ? order.source.bytes.length : -1 });
});

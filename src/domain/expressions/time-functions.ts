/** Methods that read the fields of a timestamp (in UTC or a zone) or the whole of a duration. */
import { type CelFunction, type FunctionTable, needText, refuse } from "./function-table.ts";
import { dateIn } from "./time.ts";
import { Duration, Timestamp, type Value } from "./value.ts";

const dayMs = 86_400_000;

export const timeMethods: FunctionTable = {
  getFullYear: field("getFullYear", (date) => date.getUTCFullYear()),
  getMonth: field("getMonth", (date) => date.getUTCMonth()),
  getDate: field("getDate", (date) => date.getUTCDate()),
  getDayOfMonth: field("getDayOfMonth", (date) => date.getUTCDate() - 1),
  getDayOfWeek: field("getDayOfWeek", (date) => date.getUTCDay()),
  getDayOfYear: field("getDayOfYear", dayOfYear),
  getHours: field(
    "getHours",
    (date) => date.getUTCHours(),
    (nanos) => nanos / 3_600_000_000_000n,
  ),
  getMinutes: field(
    "getMinutes",
    (date) => date.getUTCMinutes(),
    (nanos) => nanos / 60_000_000_000n,
  ),
  getSeconds: field(
    "getSeconds",
    (date) => date.getUTCSeconds(),
    (nanos) => nanos / 1_000_000_000n,
  ),
  getMilliseconds: field(
    "getMilliseconds",
    (date) => date.getUTCMilliseconds(),
    (nanos) => (nanos / 1_000_000n) % 1_000n,
  ),
};

function field(name: string, ofDate: (date: Date) => number, ofDuration?: (nanos: bigint) => bigint): CelFunction {
  return {
    usage: `timestamp.${name}([zone])`,
    arguments: [1, 2],
    call: (args) => {
      const value = args[0] as Value;
      if (value instanceof Timestamp) return BigInt(ofDate(dateIn(value, args.length === 2 ? needText(args, 1, `${name}()`) : undefined)));
      if (value instanceof Duration && ofDuration && args.length === 1) return ofDuration(value.nanos);
      throw refuse(value, `${name}()`, ofDuration ? "a timestamp or duration" : "a timestamp");
    },
  };
}

function dayOfYear(date: Date): number {
  const start = new Date(0);
  start.setUTCFullYear(date.getUTCFullYear(), 0, 1);
  return Math.floor((date.getTime() - start.getTime()) / dayMs);
}

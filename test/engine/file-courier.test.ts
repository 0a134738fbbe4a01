import { afterEach, expect, test } from "vitest";
import { systemClock } from "../../src/base/clock.ts";
import { silentLog } from "../../src/base/log.ts";
import { FileCourier, type FileCourierOptions } from "../../src/engine/file-courier.ts";
import { wholeBytesMax } from "../../src/steps/files/file-job.ts";
import type { FileOrder } from "../../src/steps/files/file-order.ts";

const couriers: FileCourier[] = [];
afterEach(() => Promise.all(couriers.splice(0).map((courier) => courier[Symbol.asyncDispose]())));

const orderTo = (act: string): FileOrder => ({
  tenantId: "acme",
  kind: "inspect",
  options: { act },
  source: { from: "bytes", bytes: new TextEncoder().encode("four") },
});

function courierOf(options: Partial<FileCourierOptions> = {}) {
  const module = new URL("./couriers/frail-courier.ts", import.meta.url);
  const courier = new FileCourier({ clock: systemClock, log: silentLog, database: "postgres://nobody@localhost/none", s3: undefined, module, ...options });
  couriers.push(courier);
  const run = async (act: string, signal = new AbortController().signal): Promise<string> => {
    const outcome = await courier.run(orderTo(act), signal);
    if (!outcome.ok) return `${outcome.fault.name}: ${outcome.fault.message}`;
    return JSON.stringify(outcome.value.kind === "facts" ? outcome.value.facts : outcome.value.file);
  };
  return { courier, run };
}

test.each(["die", "throw"])("when its thread is lost (%s), every order under way is to be tried again, and the next one has a new thread", async (act) => {
  const { run } = courierOf();
  const lost = "WORKER.LOST: the thread that carries files was lost; try again";
  expect(await Promise.all([run("wait"), run(act)])).toEqual([lost, lost]);
  expect(await run("well")).toBe('{"bytes":4}');
});

test("a mistake of ours is thrown, and the others go on", async () => {
  const { run } = courierOf();
  const [broken, well] = await Promise.allSettled([run("err"), run("well")]);
  expect(broken).toMatchObject({ status: "rejected", reason: { message: "a mistake of ours" } });
  expect(well).toEqual({ status: "fulfilled", value: '{"bytes":4}' });
});

test("an order is called off with its signal's reason, and not begun at all after it", async () => {
  const { run } = courierOf();
  const stop = new AbortController();
  const waiting = run("wait", stop.signal);
  stop.abort({ name: "CANCELED", message: "called off" });
  expect(await waiting).toBe('{"name":"CANCELED"}');
  expect(await run("well", AbortSignal.abort({ name: "CANCELED", message: "before" }))).toBe("CANCELED: before");
});

test("an order that is under way when it closes fails", async () => {
  const { courier, run } = courierOf();
  const waiting = run("wait");
  await courier[Symbol.asyncDispose]();
  expect(await waiting).toMatch(/^WORKER\.LOST: /);
});

test.each([
  [0.01, false],
  [0.5, true],
])("while an order is under way its thread hears whether the server's works: %d of the time", async (utilization, othersWork) => {
  const { run } = courierOf({ utilization: () => ({ idle: 0, active: 0, utilization }) });
  expect(await run("share")).toBe(JSON.stringify({ type: "share", othersWork }));
});

test("its thread gets ready for a large file that was uploaded, not for a small one", async () => {
  const { courier, run } = courierOf();
  courier.expect(wholeBytesMax);
  courier.expect(wholeBytesMax + 1);
  expect(await run("expected")).toBe(`{"expected":${wholeBytesMax + 1}}`);
});

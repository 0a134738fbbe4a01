/** The example siblings keep the promises that the demo's proof rests on. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { afterAll, beforeAll, expect, it } from "vitest";
import { startChild } from "../../examples/demo/child.ts";
import { type Siblings, startSiblings } from "../../examples/demo/siblings.ts";

let siblings: Siblings;

beforeAll(async () => {
  siblings = await startSiblings(100, () => undefined);
});
afterAll(() => siblings.stop());

function call(name: "orders" | "payments", method: string, path: string, key: string, body?: object): Promise<Response> {
  return fetch(`${siblings.url(name)}${path}`, {
    method,
    headers: { "idempotency-key": `"${key}"`, "saga-id": "exe_1", "saga-step": "s", "saga-op": "action" },
    ...(body ? { body: JSON.stringify(body) } : {}),
  });
}

it("act once for one key and give a repeat the first answer", async () => {
  const charge = { charge_id: "c1", amount_cents: 100, payment_token: "tok_visa" };
  const first = await call("payments", "POST", "/charges", "k1", charge);
  const again = await call("payments", "POST", "/charges", "k1", charge);
  expect([first.status, again.status]).toEqual([201, 201]);
  expect([first.headers.get("idempotent-replayed"), again.headers.get("idempotent-replayed")]).toEqual([null, "true"]);
  expect(await again.json()).toEqual(await first.json());
  const ledger = await siblings.ledger("payments");
  expect(ledger.effects.filter((effect) => effect.key === "k1")).toEqual([
    { key: "k1", action: "POST /charges", sagaId: "exe_1", step: "s", operation: "action", sequence: expect.any(Number), at: expect.any(Number) },
  ]);
  expect(ledger.duplicates).toBe(1);
});

it("answer a twin of a running call with 409 and act once", async () => {
  let key = "";
  // On a busy machine the second one may come when the first one is over; then both are answered alike.
  await expect
    .poll(async () => {
      key = `k2-${crypto.randomUUID()}`;
      const both = await Promise.all([1, 2].map(() => call("orders", "POST", "/reservations", key, { reservation_id: key })));
      return both.map(({ status }) => status).sort();
    })
    .toEqual([201, 409]);
  expect((await siblings.ledger("orders")).effects.filter((effect) => effect.key === key)).toHaveLength(1);
});

it("refuse a declined card for good and a busy moment once", async () => {
  const charge = (token: string) => ({ charge_id: token, amount_cents: 100, payment_token: token });
  const declined = await Promise.all(["k3", "k3b"].map((key) => call("payments", "POST", "/charges", key, charge("tok_declined"))));
  expect(declined.map((response) => response.status)).toEqual([402, 402]);
  const busy = [await call("payments", "POST", "/charges", "k4", charge("tok_busy")), await call("payments", "POST", "/charges", "k4", charge("tok_busy"))];
  expect(busy.map((response) => response.status)).toEqual([503, 201]);
  const { effects, refusals } = await siblings.ledger("payments");
  expect(effects.filter((effect) => ["k3", "k3b", "k4"].includes(effect.key)).map((effect) => effect.key)).toEqual(["k4"]);
  expect(refusals.map((refusal) => refusal.key).sort()).toEqual(["k3", "k3b"]);
});

it("find nothing to undo where nothing was done", async () => {
  expect((await call("orders", "DELETE", "/reservations/never", "k5")).status).toBe(404);
  expect((await call("payments", "POST", "/charges/never/refund", "k6")).status).toBe(404);
});

it("act on nothing without a key", async () => {
  const response = await fetch(`${siblings.url("orders")}/shipments`, { method: "POST", body: JSON.stringify({ shipment_id: "s" }) });
  expect([response.status, ((await response.json()) as { error: string }).error]).toEqual([400, "KEY_MISSING"]);
});

it("give the lines of one order as CSV", async () => {
  const response = await fetch(`${siblings.url("orders")}/orders/A-1002/lines.csv`);
  expect(response.headers.get("content-type")).toBe("text/csv");
  expect((await response.text()).trimEnd().split("\n")).toHaveLength(3);
});

it("end by themselves when the process that started them is gone", async () => {
  const parent = `import { spawn } from "node:child_process";
    const child = spawn(process.execPath, ["examples/siblings/webhook-sink.ts"], { stdio: ["pipe", "pipe", "inherit"], detached: true });
    child.stdout.once("data", () => console.log(JSON.stringify({ pid: child.pid })));`;
  const started = await startChild({ name: "parent", command: ["--input-type=module", "-e", parent] });
  const pid = Number(started.ready["pid"]);
  expect(isAlive(pid)).toBe(true);
  await started.kill();
  await expect.poll(() => isAlive(pid)).toBe(false);
});

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

it("stay when nobody holds their standard input, as in the background or in a container, and end on SIGTERM", async () => {
  const child = spawn(process.execPath, ["examples/siblings/webhook-sink.ts"], { stdio: ["ignore", "pipe", "inherit"] });
  const ended = once(child, "exit");
  let port = 0;
  for await (const line of createInterface({ input: child.stdout })) {
    port = (JSON.parse(line) as { port: number }).port;
    break;
  }
  // Answered after its start-up has looked at standard input.
  expect((await fetch(`http://127.0.0.1:${port}/ledger`)).status).toBe(200);
  child.kill("SIGTERM");
  expect(await ended).toEqual([0, null]);
});

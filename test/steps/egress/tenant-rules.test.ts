/** What a tenant's own list opens is open for that tenant alone, for as long as it stands in the list. */
import { afterAll, beforeAll, expect, it } from "vitest";
import { type Clock, systemClock } from "../../../src/base/clock.ts";
import type { Log } from "../../../src/base/log.ts";
import { silentLog } from "../../../src/base/log.ts";
import { refusesUrl } from "../../../src/steps/egress/egress-rules.ts";
import { createHttpEgress } from "../../../src/steps/egress/http-egress.ts";
import { type MisbehavingServer, startMisbehavingServer } from "../misbehaving-server.ts";

let server: MisbehavingServer;
beforeAll(async () => {
  server = await startMisbehavingServer();
});
afterAll(() => server[Symbol.asyncDispose]());

function open(lists: Record<string, readonly string[] | Error>, more: Partial<Parameters<typeof createHttpEgress>[0]> = {}) {
  const asked: string[] = [];
  const time = { ms: 0 };
  const clock: Clock = { ...systemClock, monotonic: () => time.ms, now: systemClock.now, sleep: systemClock.sleep };
  const tenantAllow = async (tenantId: string): Promise<readonly string[]> => {
    asked.push(tenantId);
    const list = lists[tenantId] ?? [];
    if (list instanceof Error) throw list;
    return list;
  };
  const egress = createHttpEgress({ allow: [], log: silentLog, clock, tenantAllow, ...more });
  const get = async (tenantId: string, url = `${server.origin}/ok`): Promise<string> => {
    const outcome = await egress.request({
      tenantId,
      method: "GET",
      url,
      headers: {},
      responseBytesMax: 1_000,
      redirectsMax: 0,
      signal: AbortSignal.timeout(5_000),
    });
    return outcome.kind === "answered" ? `answered ${outcome.status}` : outcome.failure.name;
  };
  return { egress, get, asked, time, lists, [Symbol.asyncDispose]: () => egress.close() };
}

it("a tenant reaches its own targets and no other tenant does, not even over a connection that is open", async () => {
  await using world = open({ acme: [`127.0.0.1:${server.port}`] });
  expect(await world.get("acme")).toBe("answered 200");
  expect(await world.get("rival")).toBe("LIMIT.EGRESS");
  expect(await world.get("acme")).toBe("answered 200");
  const url = new URL(server.origin);
  expect(refusesUrl((await world.egress.rulesOf("acme")).rules, url)).toBe(false);
  expect(refusesUrl((await world.egress.rulesOf("rival")).rules, url)).toBe(true);
});

it("tenants with equal lists share what is open for both", async () => {
  await using world = open({ a: ["127.0.0.1:*", "10.0.0.0/8:443"], b: ["10.0.0.0/8:443", "127.0.0.1:*"] });
  expect((await world.egress.rulesOf("a")).key).toBe((await world.egress.rulesOf("b")).key);
  expect(await world.get("b")).toBe("answered 200");
});

it("a change that is told holds for the next request; while the list cannot be read then, the one before stays", async () => {
  await using world = open({ acme: ["127.0.0.1:*"] });
  expect(await world.get("acme")).toBe("answered 200");
  world.lists["acme"] = [];
  world.egress.forgetTenant("rival");
  expect(await world.get("acme")).toBe("answered 200");
  world.egress.forgetTenant("acme");
  expect(await world.get("acme")).toBe("LIMIT.EGRESS");
  world.lists["acme"] = ["127.0.0.1:*"];
  world.egress.forgetTenant("acme");
  expect(await world.get("acme")).toBe("answered 200");
  world.lists["acme"] = new Error("away");
  world.egress.forgetTenant("acme");
  expect(await world.get("acme")).toBe("answered 200");
});

it("a list is read again after ten seconds: what was taken out is closed", async () => {
  await using world = open({ acme: ["127.0.0.1:*"] });
  expect(await world.get("acme")).toBe("answered 200");
  world.lists["acme"] = [];
  world.time.ms = 9_000;
  expect(await world.get("acme")).toBe("answered 200");
  world.time.ms = 11_000;
  expect(await world.get("acme")).toBe("LIMIT.EGRESS");
  expect(world.asked).toEqual(["acme", "acme"]);
});

it("while lists cannot be read the last one holds for a minute, then none", async () => {
  await using world = open({ acme: ["127.0.0.1:*"], other: new Error("down") });
  expect(await world.get("acme")).toBe("answered 200");
  expect(await world.get("other")).toBe("LIMIT.EGRESS");
  world.lists["acme"] = new Error("down");
  for (world.time.ms = 11_000; world.time.ms < 60_000; world.time.ms += 11_000) expect(await world.get("acme")).toBe("answered 200");
  expect(await world.get("acme")).toBe("LIMIT.EGRESS");
});

it("an entry that cannot be read opens nothing, and is told to the operator", async () => {
  const told: string[] = [];
  const log: Log = { ...silentLog, error: (fields) => void told.push(JSON.stringify(fields)) };
  await using world = open({ acme: ["not an entry", "127.0.0.1:*"] }, { log });
  expect(await world.get("acme")).toBe("answered 200");
  expect(told.join()).toContain("not an entry");
});

it("our own port and the database stay closed whatever a tenant's list says", async () => {
  await using own = open({ acme: ["127.0.0.0/8:*"] });
  expect(await own.get("acme")).toBe("answered 200");
  own.egress.forbidPort(server.port);
  await using fresh = open({ acme: ["127.0.0.0/8:*"] });
  fresh.egress.forbidPort(server.port);
  expect(await fresh.get("acme")).toBe("LIMIT.EGRESS");
  await using database = open(
    { acme: ["127.0.0.0/8:*", "db.example.com:*"] },
    { forbidden: [`db.example.com:${server.port}`], lookUp: async () => ["127.0.0.1"] },
  );
  expect(await database.get("acme")).toBe("LIMIT.EGRESS");
  expect(await database.get("acme", `http://db.example.com:${server.port}/ok`)).toBe("NETWORK");
});
